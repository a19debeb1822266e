# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with a detection or segmentation set, said before a training starts.

mmdet drops boxes and categories that it cannot use without a word, mmseg meets a missing or wrong label map when it
comes to it. Only files on this machine are looked at, once, and by what their configs say.
"""

import inspect
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from PIL import Image

from mmmaskany.datasets.label_map import check_label_map

from .classification import check_classification
from .finding import Finding, Survey

#: For how many seconds the label maps of a split are read before the training, evenly spread over the set; the ids of
#: all others are checked when they are loaded.
SECONDS = 10


def check_data(cfg: Config, splits: Sequence[str], converters: Path | None = None) -> list[Survey]:
    """Check all data sets of some splits.

    Args:
        cfg (Config): The config.
        splits (Sequence[str]): Which data is going to be used: 'train', 'val', 'test'.
        converters (Path, optional): Folder of the scripts that make data sets, for the advice. Defaults to None.

    Returns:
        list[Survey]: What was seen of each data set, in their order.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    surveys = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for key, dataset in _datasets(loader, f'{split}_dataloader') if loader else ():
            maker = _dataset_class(dataset)
            missing = [path for path in _local_paths(dataset, maker) if not path.exists()]
            if missing:
                text = f'{missing[0].resolve()} must exist, but is missing. {_advice(key, dataset, converters)}'
                surveys.append(Survey(key, [Finding('error', key, text, FileNotFoundError)]))
            elif maker:
                survey = check_classification(key, dataset, maker, cfg)
                surveys.append(survey or Survey(key, check_dataset(key, dataset, maker) or []))
    return surveys


def check_dataset(key: str, dataset: ConfigDict, maker: type) -> None:
    """Check the annotations of a COCO-format set, or the images and label maps of a segmentation set.

    Sets of other kinds, and such as do not lie on this machine, are left alone.

    Args:
        key (str): The config key of the dataset, for the errors.
        dataset (ConfigDict): Its config.
        maker (type): Its class.

    Raises:
        FileNotFoundError: If images, annotations or label maps are missing.
        ValueError: If annotations, images or label maps cannot be used. The message names the first of them.
    """
    if dataset.get('backend_args'):
        return
    loader = getattr(maker, 'load_data_list', None)
    kind = getattr(loader, '__qualname__', '').partition('.')[0]  # where the class inherits it from
    classes = (dataset.get('metainfo') or {}).get('classes') or getattr(maker, 'METAINFO', {}).get('classes')
    if kind == 'CocoDataset' and dataset.get('ann_file'):
        annotations = _folder(dataset, dataset['ann_file'])
        images = _folder(dataset, (dataset.get('data_prefix') or {}).get('img', ''))
        check_coco(key, annotations, images, classes)
    elif kind == 'BaseSegDataset' and isinstance(classes, Sequence):
        _check_segmentation(key, dataset, maker, len(classes))


def _folder(dataset: ConfigDict, name: str) -> Path:
    return Path(os.path.join(dataset.get('data_root') or '', name)).expanduser()


def check_coco(key: str, annotations: Path, images: Path, classes: Sequence[str] | None = None) -> None:
    """Check a COCO-format set.

    Args:
        key (str): The config key of the dataset, for the errors.
        annotations (Path): Its JSON file.
        images (Path): The folder of its images.
        classes (Sequence[str], optional): The category names that the model is to learn. Defaults to None.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If the file is not in COCO's format, ``classes`` has names that it has not, an image is empty, or
            a box lies outside its image. What mmdet drops (boxes without an area) or cuts (boxes that reach over the
            edge) is a warning.
    """
    try:
        content = json.loads(annotations.read_bytes())
    except ValueError as error:
        raise ValueError(f'{annotations} of {key} must be a JSON file, but is not: {error}') from error
    lists = {'images', 'annotations', 'categories'}
    missing = sorted(lists - content.keys()) if isinstance(content, dict) else sorted(lists)
    if missing:
        raise ValueError(f'{annotations} of {key} must be in the format of COCO, but has no {", ".join(missing)}')

    names = [category['name'] for category in content['categories']]
    unknown = [] if classes is None or isinstance(classes, str) else [name for name in classes if name not in names]
    if unknown:
        show = str if all(isinstance(name, str) for name in unknown) else repr  # 7 and '7' would look alike
        raise ValueError(
            f'the classes of {key} must be categories of {annotations}, {_first([*map(show, names)], 10)}, but got '
            f'{_first([*map(show, unknown)], 10)}: set metainfo=dict(classes=...) in the dataset'
        )

    sizes = {}
    for image in content['images']:
        name, width, height = image['file_name'], image['width'], image['height']
        sizes[image['id']] = name, width, height
        if min(width, height) < 1:
            raise ValueError(f'images must have a size, but {annotations} gives {name} {width} x {height} px')
    _check_files(key, (images / name for name, *_ in sizes.values()))
    _check_boxes(annotations, content['annotations'], sizes)


def _check_boxes(path: Path, annotations: list[dict], sizes: dict) -> None:
    outside, over, empty = [], [], []
    for annotation in annotations:
        if annotation['image_id'] not in sizes:
            raise ValueError(
                f'annotations must belong to an image of {path}, but annotation {annotation["id"]} belongs to image '
                f'{annotation["image_id"]}, which is not there'
            )
        name, width, height = sizes[annotation['image_id']]
        x, y, w, h = annotation['bbox']
        text = f'annotation {annotation["id"]}, [{x:g}, {y:g}, {w:g}, {h:g}] on {name}, {width} x {height} px'
        if w <= 0 or h <= 0:
            empty.append(text)
        elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
            outside.append(text)
        elif x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:  # COCO's own are off by less than a pixel
            over.append(text)
    if outside:
        raise ValueError(
            f'boxes [x, y, width, height] must lie in their image, but {len(outside)} of {path} lie outside: '
            f'{_first(outside, 3)}'
        )
    for what, found in (('reach over the edge of their image', over), ('have no area and are left out', empty)):
        if found:
            print_log(
                f'{len(found)} boxes of {path} {what}: {_first(found, 3)}', logger='current', level=logging.WARNING
            )


def _check_segmentation(key: str, dataset: ConfigDict, maker: type, classes: int) -> None:
    """Let the dataset list its files, and look at them."""
    # A config that is inherited from a host carries its scope.
    arguments = {key: value for key, value in dataset.items() if key not in ('type', '_scope_')}
    built = maker(**{**arguments, 'lazy_init': True, 'pipeline': []})
    samples = built.load_data_list()
    if not samples:
        where = built.data_prefix.get('img_path')
        raise FileNotFoundError(f'{where} must hold images *{built.img_suffix} for {key}, but holds none')
    _check_files(key, (Path(sample['img_path']) for sample in samples))
    if built.test_mode and 'seg_map_path' not in samples[0]:
        return
    _check_files(key, (Path(sample['seg_map_path']) for sample in samples))
    load = TRANSFORMS.build(dict(type='mmseg.LoadAnnotations'))
    golden = (5**0.5 - 1) / 2  # its multiples, modulo 1, are spread evenly wherever one stops
    end = time.monotonic() + SECONDS
    for _, sample in sorted(enumerate(samples), key=lambda item: item[0] * golden % 1):
        try:
            ids = load(sample)['gt_seg_map']
            with Image.open(sample['img_path']) as image:  # reads the size alone
                size = image.size[::-1]
        except OSError as error:
            files = f'{sample["img_path"]} or its label map {sample["seg_map_path"]}'
            raise ValueError(f'images and label maps must be images, but {files} of {key} is not') from error
        if sorted(size) != sorted(ids.shape):  # a photograph may say that it is to be turned
            raise ValueError(
                f'label maps must have the size of their images, but {sample["seg_map_path"]} of {key} is {ids.shape} '
                f'and {sample["img_path"]} is {size}'
            )
        check_label_map(ids, classes, built.ignore_index, built.reduce_zero_label, sample['seg_map_path'])
        if time.monotonic() > end:
            break


def _check_files(key: str, paths: Iterable[Path]) -> None:
    """Make sure that files are there and not empty."""
    missing, empty = [], []
    for path in paths:
        try:
            if not path.stat().st_size:
                empty.append(str(path))
        except FileNotFoundError:
            missing.append(str(path))
    if missing:
        raise FileNotFoundError(f'{len(missing)} files of {key} are missing: {_first(missing, 3)}')
    if empty:
        raise ValueError(f'files of {key} must not be empty, but {len(empty)} are: {_first(empty, 3)}')


def _first(items: Sequence, count: int) -> str:
    """Join the first items."""
    return ', '.join(map(str, items[:count])) + (f' and {len(items) - count} more' if len(items) > count else '')


def _datasets(node: ConfigDict, key: str) -> Iterator[tuple[str, ConfigDict]]:
    """Yield the datasets below a data loader's or a wrapper's config, with their keys."""
    if 'dataset' in node:
        yield from _datasets(node['dataset'], f'{key}.dataset')
    elif 'datasets' in node:
        for index, child in enumerate(node['datasets']):
            yield from _datasets(child, f'{key}.datasets.{index}')
    else:
        yield key, node


def _dataset_class(dataset: ConfigDict) -> type | None:
    """Find the class of a dataset, None where it is not registered."""
    maker = dataset['type']
    if isinstance(maker, str):
        with DATASETS.switch_scope_and_registry(dataset.get('_scope_')) as registry:
            maker = registry.get(maker)
    return maker


def _local_paths(dataset: ConfigDict, maker: type | None) -> list[Path]:
    """List the files and folders that a dataset is going to read, as MMEngine joins them."""
    if maker and 'download' in inspect.signature(maker).parameters and dataset.get('download', True):
        return []
    root = dataset.get('data_root') or ''
    prefixes = dataset.get('data_prefix') or {}
    names = [*(prefixes.values() if isinstance(prefixes, dict) else [prefixes]), dataset.get('ann_file')]
    paths = [root, *(os.path.join(root, name) for name in names if isinstance(name, str) and name)]
    return [Path(path).expanduser() for path in paths if path and '://' not in path]


def _advice(key: str, dataset: ConfigDict, converters: Path | None) -> str:
    """Say how a missing data set is made, and how to name another place."""
    root = dataset.get('data_root') or ''
    elsewhere = f'--cfg-options {key}.data_root=FOLDER names another place.'
    name = Path(root).name.replace('-', '_')
    for script in sorted(converters.glob('[!_]*.py')) if converters else ():
        if name.startswith(script.stem):
            return f'`python {os.path.relpath(script)}` makes {root}; {elsewhere}'
    return f'Put the data there, as README.md lays it out; {elsewhere}'
