# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""mmdet's reader of COCO files, completed: what can be derived is derived, and a file is parsed once.

mmdet drops every object whose ``area`` is 0, and pycocotools needs ``area`` and ``iscrowd`` after the first epoch. Both
follow from the rest. The user's file stays as it is.
"""

import contextlib
import gc
import json
import math
import os
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path

import numpy as np

#: Files that were parsed to be checked, for the first one that reads them: by path, time and size.
_parsed: dict[tuple, dict] = {}
#: What crowd flags mean.
CROWD = {False: 0, True: 1, None: 0, '0': 0, '1': 1}
NUMBERS = {int, float}


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Do not look for garbage: among millions of new objects without any, half the time would be spent on it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def parse(path: str | os.PathLike, keep: bool = False) -> dict:
    """Parse a JSON file, or take what was kept of it.

    Args:
        path (str | os.PathLike): The file.
        keep (bool): Whether to keep the result for the next one who asks. Defaults to False.

    Returns:
        dict: Its content.
    """
    status = os.stat(path)
    name = os.path.realpath(path), status.st_mtime_ns, status.st_size
    content = _parsed.pop(name, None)
    if content is None:
        with no_collection():
            content = json.loads(Path(path).read_bytes())
    if keep:
        _parsed[name] = content
    return content


def column(items: list[dict], field: str) -> list:
    """Return one field of all items, None where an item has it not."""
    try:
        return list(map(itemgetter(field), items))
    except KeyError:
        return [item.get(field) for item in items]


def derive_fields(annotations: list[dict], change: bool = True) -> dict[str, list[int]]:
    """Fill in the areas and crowd flags that COCO annotations lack, and mend those that cannot be.

    An area that is missing, or not a positive number, becomes that of the box, as mmdet writes it itself
    (``CocoMetric.gt_to_coco_json``). A crowd flag that is missing or null is 0; True, '1' and the like are numbers.

    Args:
        annotations (list[dict]): The annotations. Fields that say nothing stay as they are.
        change (bool): Whether they are changed, or only told. Defaults to True.

    Returns:
        dict[str, list[int]]: Which annotations get another 'area' or 'iscrowd', by their places in the list.
    """
    areas = column(annotations, 'area')
    if set(map(type, areas)) <= NUMBERS:
        values = np.array(areas, dtype=float)
        odd = np.flatnonzero(~(np.isfinite(values) & (values > 0))).tolist()
    else:
        odd = [i for i, area in enumerate(areas) if type(area) not in NUMBERS or not 0 < area < math.inf]
    derived: dict[str, list[int]] = dict(area=[], iscrowd=[])
    for index in odd:
        box = annotations[index].get('bbox')
        if isinstance(box, list) and len(box) == 4 and set(map(type, box)) <= NUMBERS and min(box[2:]) > 0:
            if change:
                annotations[index]['area'] = box[2] * box[3]
            derived['area'].append(index)
    flags = column(annotations, 'iscrowd')
    if not set(map(type, flags)) <= {int}:
        for index, flag in enumerate(flags):
            if type(flag) is not int and isinstance(flag, (type(None), bool, str, float)) and flag in CROWD:
                if change:
                    annotations[index]['iscrowd'] = CROWD[flag]
                derived['iscrowd'].append(index)
    return derived


def complete_reader() -> None:
    """Let mmdet's data sets and its metric read COCO files that are completed by :func:`derive_fields`."""
    from mmdet.datasets import CocoDataset
    from mmdet.datasets.api_wrappers import COCO
    from mmdet.evaluation.metrics import coco_metric

    class CompletedCOCO(COCO):
        def __init__(self, annotation_file: str | None = None) -> None:
            super().__init__()
            if annotation_file is not None:
                with no_collection():
                    self.dataset = parse(annotation_file)
                    derive_fields(self.dataset.get('annotations', []))
                    self.createIndex()
                self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    if CocoDataset.COCOAPI is COCO:
        CocoDataset.COCOAPI = coco_metric.COCO = CompletedCOCO


def numbers_only(values: list) -> bool:
    """Tell whether lists hold nothing but numbers, as JSON knows them."""
    return set(map(type, chain.from_iterable(values))) <= NUMBERS
