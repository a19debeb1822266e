# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with annotations in the format of COCO.

mmdet drops boxes and categories that it cannot use without a word, and meets a missing field when it comes to it: some
in the first step, some only when the first epoch is evaluated. All fields that mmdet and pycocotools read are looked at
here, of all annotations, column by column; the points of polygons and the headers of images in an evenly spread part.
"""

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from mmmaskany.datasets.coco_reader import CROWD, NUMBERS, column, derive_fields, no_collection, numbers_only, parse

from .files import by_suffix, check_present, unread_images
from .finding import Finding, Survey, first
from .sizes import Loading, check_sizes

#: Of how many annotations the points of polygons are looked at.
POLYGONS = 5_000
#: How far a box may reach over the edge before it is said, in px: COCO's own are off by less.
TOLERANCE = 1
#: What mmdet takes off the address of an image of LVIS v1 to name its file.
_LVIS_SITE = 'http://images.cocodataset.org/'
#: How LVIS's metric groups categories: rare, common and frequent.
_FREQUENCIES = {'r', 'c', 'f'}


def check_coco(
    key: str,
    annotations: Path,
    images: Path,
    classes: Sequence[str] | None = None,
    *,
    test_mode: bool = False,
    masks: bool = False,
    panoptic: bool = False,
    lvis: str | None = None,
    sort_categories: bool = False,
    filter_cfg: dict | None = None,
    loading: Loading | None = None,
) -> Survey:
    """Check a COCO-format set.

    Args:
        key (str): The config key of the dataset, for the findings.
        annotations (Path): Its JSON file.
        images (Path): The folder of its images.
        classes (Sequence[str], optional): The category names that the model is to learn. Defaults to None: all.
        test_mode (bool): Whether the set is only evaluated on. Defaults to False.
        masks (bool): Whether masks are learnt or evaluated. Defaults to False.
        panoptic (bool): Whether the file holds segments of panoptic maps. Defaults to False.
        lvis (str, optional): 'v0.5' or 'v1' where mmdet reads the file as LVIS. Defaults to None.
        sort_categories (bool): Whether the dataset numbers the categories by their ids. Defaults to False.
        filter_cfg (dict, optional): Which images mmdet leaves out. Defaults to None.
        loading (Loading, optional): How images are loaded. Defaults to None: as colours, by OpenCV.

    Returns:
        Survey: What was found. Errors are what would end a training, or train or evaluate on something else than what
            was annotated; what mmdet drops or cuts, in a part of the set, is a warning.
    """
    check = _CocoCheck(key, annotations, classes, test_mode, masks, panoptic, lvis, sort_categories, filter_cfg or {})
    with no_collection():
        if check.read() and check.categories() and check.images(images) and check.annotations():
            check.boxes()
            check.masks()
            check.usage()
        if check.sizes:
            check.files(images, loading or Loading())
    return Survey(key, check.findings, check.counts, check.facts)


class _CocoCheck:
    """The checks of one file, in their order; each builds on those before it."""

    def __init__(self, key, path, classes, test_mode, masks, panoptic, lvis, sort_categories, filter_cfg) -> None:
        self.key, self.path, self.classes, self.test_mode = key, path, classes, test_mode
        self.with_masks, self.panoptic, self.lvis, self.sort_categories = masks, panoptic, lvis, sort_categories
        self.filter_cfg = filter_cfg
        self.findings: list[Finding] = []
        self.counts: dict[str, int] = {}
        self.facts: dict[str, str] = {}
        self.sizes: dict = {}

    def say(self, level: str, text: str) -> None:
        self.findings.append(Finding(level, self.key, text))

    def refuse(
        self, what: str, rows: Sequence, examples: Iterable[str], advice: str = '', level: str = 'error'
    ) -> bool:
        """Say what must hold and for how many it does not; return whether it does."""
        if len(rows):
            examples = [text for text, _ in zip(examples, range(3), strict=False)]
            more = f' and {len(rows) - len(examples)} more' if len(rows) > len(examples) else ''
            advice = f'; {advice}' if advice else ''
            verb = 'does' if len(rows) == 1 else 'do'
            text = f'{what} in {self.path}, but {len(rows)} {verb} not: {", ".join(examples)}{more}{advice}'
            self.say(level, text)
        return not len(rows)

    # ------------------------------------------------------------------ the file

    def read(self) -> bool:
        try:
            content = parse(self.path, keep=not self.lvis)  # whose reader is a package of its own
        except (ValueError, RecursionError) as error:
            self.say('error', f'{self.path} must be a JSON file, but is not: {error}')
            return False
        lists = ['images', 'annotations', 'categories']
        wrong = [name for name in lists if not isinstance(content, dict) or not isinstance(content.get(name), list)]
        if self.test_mode and wrong == ['annotations'] and 'annotations' not in content:  # as COCO's test-dev
            self.say('warning', f'{self.path} has no annotations: there is nothing to evaluate on')
            content, wrong = {**content, 'annotations': []}, []
        if wrong:
            self.say('error', f'{self.path} must be in the format of COCO, but has no list of {", ".join(wrong)}')
            return False
        for name in lists:
            if set(map(type, content[name])) - {dict}:
                example = next(item for item in content[name] if type(item) is not dict)
                self.say('error', f'{name} of {self.path} must be a list of dicts, but one is {_short(example)}')
                return False
        self.content = content
        return True

    def categories(self) -> bool:
        found = self.content['categories']
        more = dict(isthing=(int, bool)) if self.panoptic else {}
        if self.lvis and self.test_mode:
            more = dict(frequency=(str,))
        columns = self.fields('categories', found, id=(int, str), name=(str, int), **more)
        if not columns:
            return False
        rows = [i for i, value in enumerate(columns.get('frequency', ())) if value not in _FREQUENCIES]
        examples = (f'category {found[i]["id"]!r} has {columns["frequency"][i]!r}' for i in rows)
        if not self.refuse("'frequency' of categories must be 'r', 'c' or 'f'", rows, examples):
            return False
        good = True
        for field in ('id', 'name'):
            twice = [value for value, count in Counter(item[field] for item in found).items() if count > 1]
            advice = (
                'mmdet would number its objects as if there were more classes, and all that follow wrongly; '
                'merge them, or give each its own name'
                if field == 'name'
                else 'give each its own'
            )
            good &= self.refuse(f'categories must each have another {field}', twice, map(repr, twice), advice)
        if not good:
            return False
        ordered = sorted(found, key=lambda item: item['id']) if self.sort_categories else found
        names = [item['name'] for item in ordered]
        classes = names if self.classes is None else list(self.classes)
        self.names = {item['id']: item['name'] for item in found}
        if self.lvis:
            return self.lvis_categories(names, classes)
        unknown = [name for name in classes if name not in names]
        show = str if all(isinstance(name, str) for name in unknown) else repr  # 7 and '7' would look alike
        if unknown:
            near = difflib.get_close_matches(str(unknown[0]).lower(), [str(name).lower() for name in names], 1, 0.8)
            self.say(
                'error',
                f'classes must be categories of {self.path}, {first([*map(show, names)], 10)}, but got '
                f'{first([*map(show, unknown)], 10)}: set metainfo=dict(classes=...) in the dataset'
                + (f'; names are compared letter by letter, and {near[0]!r} is near' if near else ''),
            )
            return False
        order = [name for name in names if name in classes]
        if order != classes:
            self.say(
                'error',
                f'classes must be in the order of the categories of {self.path}, in which mmdet numbers them, '
                f'{first([*map(show, order)], 10)}, but got {first([*map(show, classes)], 10)}: each would go by the '
                f'name of another. Write metainfo=dict(classes={tuple(order)!r})',
            )
            return False
        self.labels = {item['id']: i for i, item in enumerate(x for x in ordered if x['name'] in classes)}
        self.order = order
        return True

    def lvis_categories(self, names: list, classes: list) -> bool:
        """Compare classes with the categories of LVIS, which mmdet numbers in their order, whatever classes are."""
        self.labels = {number: i for i, number in enumerate(self.names)}
        self.order = classes
        how = f'for mmdet numbers all categories of {self.path} in their order'
        if len(classes) != len(names):
            self.say(
                'error',
                f'classes must be as many as the categories, {len(names)}, {how}, but got {len(classes)}: '
                'set metainfo=dict(classes=...) in the dataset',
            )
            return False
        other = [i for i, (a, b) in enumerate(zip(classes, names, strict=True)) if a != b]
        moved = [i for i in other if classes[i] in names]
        if moved:
            some = first([f'{classes[i]!r} at place {i}, where the file has {names[i]!r}' for i in moved])
            self.say('error', f'classes must be in the order of the categories, {how}, but got {some}')
        elif other:
            some = first([f'{classes[i]!r} is {names[i]!r}' for i in other])
            self.say('note', f'{len(other)} classes have other names than the categories of {self.path}: {some}')
        return not moved

    def fields(self, what: str, items: list[dict], **types: tuple) -> dict[str, list] | None:
        """Return some fields of all items, None where one is missing or not of one of its types."""
        good, columns = True, {}
        for field, allowed in types.items():
            values = columns[field] = column(items, field)
            if set(map(type, values)) <= set(allowed):
                continue
            wanted = {int: 'a number', float: 'a number', bool: 'a number', str: 'a text', list: 'a list'}
            called = ' or '.join(dict.fromkeys(wanted[kind] for kind in allowed))
            missing = [i for i, item in enumerate(items) if field not in item]
            other = [i for i, v in enumerate(values) if type(v) not in allowed and field in items[i]]
            name = lambda i: f'{_called(what, items[i], i)}'  # noqa: E731
            good &= self.refuse(f'{what} must have {field!r}', missing, (name(i) for i in missing))
            examples = (f'{name(i)} has {_short(values[i])}' for i in other)
            good &= self.refuse(f'{field!r} of {what} must be {called}', other, examples)
        return columns if good else None

    def images(self, folder: Path) -> bool:
        images = self.content['images']
        if not images:
            self.say('error', f'{self.path} must list images, but lists none')
            return False
        called = 'coco_url' if self.lvis == 'v1' else 'file_name'
        types = {'id': (int, str), called: (str,), 'width': (int, float), 'height': (int, float)}
        if self.lvis and self.test_mode:
            types |= dict(neg_category_ids=(list,), not_exhaustive_category_ids=(list,))
        columns = self.fields('images', images, **types)
        if columns is None:
            if not self.lvis and all('coco_url' in item and 'file_name' not in item for item in images):
                self.say('note', f"{self.path} looks like LVIS v1, which type='LVISV1Dataset' reads")
            return False
        good, ids, names = True, columns['id'], columns[called]
        if self.lvis == 'v1':
            names = [name.replace(_LVIS_SITE, '') for name in names]
        elif self.lvis:  # as COCO named its files in 2014
            names = [name[-16:] if name.startswith('COCO') else name for name in names]
        for field in ('neg_category_ids', 'not_exhaustive_category_ids') if self.lvis and self.test_mode else ():
            known = self.names.keys()
            rows = [
                i
                for i, some in enumerate(columns[field])
                if not (set(map(type, some)) <= {int, str} and known >= set(some))
            ]
            examples = (f'image {ids[i]!r} has {_short(columns[field][i])}' for i in rows)
            good &= self.refuse(f'{field!r} of images must be ids of categories', rows, examples)
        if len(set(ids)) < len(ids):
            twice = [value for value, count in Counter(ids).items() if count > 1]
            advice = 'the last would get the boxes of all; give each image its own id'
            good &= self.refuse('images must each have another id', twice, map(repr, twice), advice)
        shape = np.array([columns['width'], columns['height']], dtype=float).T
        rows = np.flatnonzero(~((shape >= 1) & np.isfinite(shape)).all(1))
        examples = (f'{names[i]} has {images[i]["width"]} x {images[i]["height"]} px' for i in rows)
        good &= self.refuse('images must have a size', rows, examples)
        rows = [i for i, name in enumerate(names) if not name.strip()]
        good &= self.refuse(f'{called!r} of images must not be empty', rows, (f'image {ids[i]!r}' for i in rows))
        if not good:
            return False
        if len(set(names)) < len(names):
            twice = [value for value, count in Counter(names).items() if count > 1]
            advice = 'each has only a part of its boxes; merge them under one id'
            self.refuse('images must each be listed once', twice, twice, advice, 'warning')
        root = os.fspath(folder)
        paths = [os.path.join(root, name) for name in names]
        self.sizes = dict(zip(paths, shape[:, ::-1].tolist(), strict=True))
        self.image_ids, self.shape, self.file_names = ids, shape, names
        self.facts['images'] = str(len(images))
        self.facts['image sizes'] = _spread_of_sizes(shape)
        return True

    # ------------------------------------------------------------------ annotations

    def annotations(self) -> bool:
        items = self.content['annotations']
        if self.panoptic:
            if not self.fields('annotations', items, image_id=(int, str), segments_info=(list,)):
                return False
            items = [dict(part, image_id=item['image_id']) for item in items for part in item['segments_info']]
        self.items = items
        columns = self.fields(
            'annotations', items, id=(int, str), image_id=(int, str), category_id=(int, str), bbox=(list,)
        )
        if columns is None:
            return False
        good, ids, boxes = True, columns['id'], columns['bbox']
        different = set(ids)
        if not self.panoptic and len(different) < len(ids):
            twice = [value for value, count in Counter(ids).items() if count > 1]
            good &= self.refuse('annotations must each have another id', twice, map(repr, twice))
        if not self.panoptic and 0 in different and self.test_mode:
            self.say(
                'note',
                f'annotation 0 of {self.path} never counts as found, for pycocotools takes 0 for none: number from 1',
            )
        self.image = self.look_up('image_id', columns, self.image_ids, 'an image')
        self.category = self.look_up('category_id', columns, list(self.names), 'a category')
        if self.image is None or self.category is None:
            return False

        rows = [i for i, box in enumerate(boxes) if len(box) != 4] if set(map(len, boxes)) - {4} else []
        flat = list(chain.from_iterable(boxes))
        if not rows and set(map(type, flat)) - NUMBERS:
            rows = [i for i, box in enumerate(boxes) if set(map(type, box)) - NUMBERS]
        examples = (f'annotation {ids[i]!r} has {_short(boxes[i])}' for i in rows)
        if not self.refuse('boxes must be four numbers, [x, y, width, height],', rows, examples):
            return False
        self.box = np.array(flat, dtype=float).reshape(-1, 4)
        rows = np.flatnonzero(~np.isfinite(self.box).all(1))
        examples = (f'annotation {ids[i]!r} has {boxes[i]}' for i in rows)
        good &= self.refuse('boxes must be finite', rows, examples)

        derived = derive_fields(items, change=False)
        if self.panoptic or self.lvis:  # whose readers are others, for which no flag is 0
            rows = derived.pop('area')
            examples = (f'annotation {ids[i]!r} has {_short(items[i].get("area"))}' for i in rows)
            advice = 'mmdet would leave them out, or fail where there is none: width times height of the box will do'
            none = any(type(items[i].get('area')) not in NUMBERS for i in rows)
            level = 'error' if none or len(rows) * 2 > len(items) else 'warning'
            what = "'area' of annotations must be a number above 0"
            good &= self.refuse(what, rows, examples, advice, level) or level == 'warning'
        for field, how in (('area', 'the area of their boxes is taken'), ('iscrowd', 'it is read as a number, or 0')):
            rows = derived.get(field)
            if rows and not (self.panoptic or self.lvis):
                few = first([f'annotation {ids[i]!r}' for i in rows])
                self.say(
                    'note',
                    f'{len(rows)} of {len(items)} annotations of {self.path} have no {field} that can be: {how}: {few}',
                )
        flags = column(items, 'iscrowd')
        for i in derived['iscrowd']:
            flags[i] = CROWD[flags[i]]
        rows = []
        if set(map(type, flags)) - {int} or set(flags) - {0, 1}:
            rows = [i for i, flag in enumerate(flags) if not isinstance(flag, (int, float)) or flag not in (0, 1)]
        examples = (f'annotation {ids[i]!r} has {_short(flags[i])}' for i in rows)
        if not self.refuse("'iscrowd' of annotations must be 0 or 1", rows, examples):
            return False
        self.crowd = np.array(flags, dtype=bool)
        self.ignored = np.array([bool(value) for value in column(items, 'ignore')], dtype=bool)
        return good

    def look_up(self, field: str, columns: dict[str, list], known: list, what: str) -> np.ndarray | None:
        """Return where in a list of ids each annotation's is."""
        values, places = columns[field], {value: i for i, value in enumerate(known)}
        found = np.fromiter(map(places.get, values, repeat(-1)), np.int64, len(values))
        rows = np.flatnonzero(found < 0)
        advice = ''
        if len(rows):
            strange = values[rows[0]]
            if any(type(value) is not type(strange) and str(value) == str(strange) for value in known):
                advice = "numbers and texts are not the same id: 1 is not '1'"
            elif field == 'category_id':
                advice = f'there are {first(known, 10)}'
        examples = (f'annotation {columns["id"][i]!r} belongs to {values[i]!r}' for i in rows)
        return found if self.refuse(f'annotations must belong to {what}', rows, examples, advice) else None

    def text(self, i: int) -> str:
        """Name a box."""
        x, y, w, h = self.box[i]
        width, height = self.shape[self.image[i]]
        name = self.file_names[self.image[i]]
        return f'annotation {self.items[i]["id"]}, [{x:g}, {y:g}, {w:g}, {h:g}] on {name}, {width:g} x {height:g} px'

    def boxes(self) -> None:
        x, y, w, h = self.box.T
        width, height = self.shape[self.image].T
        total = len(self.box)
        self.used = ~self.ignored
        if not total:
            return
        no_area = (w <= 0) | (h <= 0)
        outside = ~no_area & ((x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0))
        t = TOLERANCE
        over = ~no_area & ~outside & ((x < -t) | (y < -t) | (x + w > width + t) | (y + h > height + t))
        tiny = ~no_area & ((w < 1) | (h < 1))
        self.used &= ~(no_area | outside | tiny)

        shares = tiny & (self.box.max(1) <= 1) & (self.box.min(1) >= 0) & (width > 2) & (height > 2)
        if shares.sum() * 2 > total:
            advice = 'multiply x and width by the width of the image, y and height by its height'
            what = 'boxes must be in pixels and not in shares of their image'
            self.refuse(what, np.flatnonzero(shares), map(self.text, np.flatnonzero(shares)), advice)
            self.used[:] = True  # all that follows would repeat it
            return
        corners = (w > x) & (h > y) & (w <= width + t) & (h <= height + t) & (x >= -t) & (y >= -t)
        beyond = over | outside
        if total > 2 and corners.all() and beyond.sum() * 5 > total:
            rows = np.flatnonzero(beyond)
            self.say(
                'error',
                f'boxes must be [x, y, width, height], but those of {self.path} look like [x1, y1, x2, y2]: '
                f'{len(rows)} of {total} reach over the edge of their image, and none has a third number below its '
                f'first, or a fourth below its second: {first([*map(self.text, rows[:3])])}. Take '
                '[x1, y1, x2 - x1, y2 - y1]',
            )
            self.used[:] = True
            return
        rows = np.flatnonzero(outside)
        self.refuse('boxes [x, y, width, height] must lie in their image', rows, map(self.text, rows))
        self.drop(no_area, 'boxes have no area and are left out', self.text)
        self.drop(tiny, 'boxes are smaller than a pixel and are left out', self.text)
        self.drop(self.ignored, "annotations have 'ignore' and are left out", self.text)
        self.drop(over, 'boxes reach over the edge of their image', self.text, level='warning')

    def drop(self, rows: np.ndarray, what: str, show, level: str | None = None) -> None:
        """Say which annotations are left out: an error where that is more than half of them."""
        rows = np.flatnonzero(rows)
        if len(rows):
            level = level or ('error' if len(rows) * 2 > len(self.items) else 'warning')
            some = first([show(i) for i in rows[:3]])
            more = f' and {len(rows) - 3} more' if len(rows) > 3 else ''
            self.say(level, f'{len(rows)} of {len(self.items)} {what}, in {self.path}: {some}{more}')

    # ------------------------------------------------------------------ masks

    def masks(self) -> None:
        if self.panoptic:
            return
        parts = column(self.items, 'segmentation')
        kinds = np.array([_FORM.get(type(part), 3) if part else 0 for part in parts], dtype=np.int8)
        name = lambda i: f'annotation {self.items[i]["id"]!r}'  # noqa: E731
        if self.with_masks:
            rows = np.flatnonzero(self.used & (kinds == 0))
            what = "annotations must have a 'segmentation' where masks are learnt or evaluated"
            advice = 'a detector of boxes alone has no mask_head, with_mask=False, and metric="bbox"'
            self.refuse(what, rows, map(name, rows), advice)
        rows = np.flatnonzero(kinds == 3)
        examples = (f'{name(i)} has {_short(parts[i])}' for i in rows)
        what = "'segmentation' must be a list of polygons, or a dict with 'counts' and 'size',"
        self.refuse(what, rows, examples, level='error' if self.with_masks else 'warning')
        if self.with_masks:
            self.run_lengths(parts, np.flatnonzero(kinds == 2), name)
        self.polygons(parts, np.flatnonzero(kinds == 1), name)

    def run_lengths(self, parts: list, rows: np.ndarray, name) -> None:
        import pycocotools.mask as mask_utils

        broken, other = [], []
        for i in rows:
            size, counts = parts[i].get('size'), parts[i].get('counts')
            height, width = self.shape[self.image[i]][::-1]
            if not (isinstance(size, list) and len(size) == 2 and isinstance(counts, (list, str))):
                broken.append(i)
            elif size != [height, width]:
                other.append(i)
            elif isinstance(counts, list):
                good = set(map(type, counts)) <= {int} and min(counts, default=0) >= 0
                if not good or sum(counts) != height * width:
                    broken.append(i)
        good = [i for i in rows if isinstance(parts[i].get('counts'), str)][:: max(1, len(rows) // 200)]
        for i in good:
            try:
                if not mask_utils.area(dict(size=parts[i].get('size'), counts=parts[i]['counts'].encode())):
                    broken.append(i)
            except Exception:  # pycocotools raises whatever its C code meets
                broken.append(i)
        broken = sorted(set(broken) - set(other))
        what = "run lengths must have a 'size' and 'counts' that add up to it"
        self.refuse(what, broken, (f'{name(i)} has {_short(parts[i])}' for i in broken))
        examples = (
            f'{name(i)} has {parts[i]["size"]} for {self.shape[self.image[i]][::-1].astype(int).tolist()}'
            for i in other
        )
        self.refuse("'size' of run lengths must be [height, width] of their image", other, examples)

    def polygons(self, parts: list, rows: np.ndarray, name) -> None:
        forms = [parts[i] for i in rows]
        lists = []
        if set(map(type, chain.from_iterable(forms))) - {list}:
            lists = [i for i in rows if set(map(type, parts[i])) != {list}]
        examples = (f'{name(i)} has {_short(parts[i])}' for i in lists)
        what = "'segmentation' must be a list of polygons, [[x1, y1, x2, y2, ...], ...],"
        if not self.refuse(what, lists, examples, 'even one polygon stands in a list', self.level(lists)):
            return
        short = np.zeros(len(parts), dtype=bool)
        if len(rows):
            pieces = np.fromiter(map(len, forms), np.int64, len(forms))
            lengths = np.fromiter(map(len, chain.from_iterable(forms)), np.int64, pieces.sum())
            good = (lengths >= 6) & (lengths % 2 == 0)
            short[rows] = ~np.logical_or.reduceat(good, np.cumsum(pieces) - pieces)
        if self.with_masks:
            self.drop(short & self.used, 'annotations have no polygon of three or more points and are left out', name)
            self.used &= ~short
        rows = rows[~short[rows]]
        rows = rows[:: max(1, len(rows) // POLYGONS)]
        points = [list(chain.from_iterable(parts[i])) for i in rows]
        if not numbers_only(points):
            bad = [i for i, point in zip(rows, points, strict=True) if set(map(type, point)) - NUMBERS]
            examples = (f'{name(i)} has {_short(parts[i])}' for i in bad)
            self.refuse('points of polygons must be numbers', bad, examples, level=self.level(bad))
            return
        if not points:
            return
        lengths = np.fromiter(map(len, points), np.int64, len(points))
        even = lengths % 2 == 0  # of several polygons, one may be odd: mmdet leaves that out
        rows, points, lengths = rows[even], [p for p, good in zip(points, even, strict=True) if good], lengths[even]
        if not points:
            return
        flat = np.fromiter(chain.from_iterable(points), float, lengths.sum()).reshape(-1, 2)
        starts = np.concatenate([[0], np.cumsum(lengths // 2)[:-1]])
        low, high = np.minimum.reduceat(flat, starts), np.maximum.reduceat(flat, starts)
        size = self.shape[self.image[rows]]
        bad = rows[~np.isfinite(np.hstack([low, high])).all(1)]
        if not self.refuse('points of polygons must be finite', bad, map(name, bad), level=self.level(bad)):
            return
        shares = (low >= 0).all(1) & (high <= 1).all(1) & (size > 2).all(1)
        if shares.sum() * 2 > len(rows):
            advice = 'multiply x by the width of the image, and y by its height'
            bad = rows[shares]
            what = 'points of polygons must be in pixels and not in shares of their image'
            self.refuse(what, bad, map(name, bad), advice, self.level(bad))
            return
        outside = (low >= size).any(1) | (high <= 0).any(1)
        bad = rows[outside]
        self.refuse('polygons must lie in their image', bad, map(name, bad), level=self.level(bad))
        box = self.box[rows]
        inner = np.minimum(high, box[:, :2] + box[:, 2:]) - np.maximum(low, box[:, :2])
        shared = np.clip(inner, 0, None).prod(1)
        apart = self.used[rows] & (shared * 2 < box[:, 2:].prod(1) + (high - low).prod(1) - shared)
        apart &= (high - low).min(1) > 2  # a pixel more or less is much of a small object
        if apart.sum() * 2 > max(len(rows), 4):
            bad = rows[apart]
            examples = (
                f'{name(i)}: box {self.box[i].tolist()}, polygon from {low[k].tolist()} to {high[k].tolist()}'
                for i, k in zip(bad, np.flatnonzero(apart), strict=True)
            )
            self.refuse('boxes [x, y, width, height] must enclose their polygons', bad, examples)

    def level(self, _rows: Sequence) -> str:
        """What is wrong with polygons matters where masks are learnt."""
        return 'error' if self.with_masks else 'warning'

    # ------------------------------------------------------------------ what is left

    def usage(self) -> None:
        """Say how many objects remain of each class, and which images."""
        known = np.array([self.labels.get(i, -1) for i in self.names], dtype=np.int64)
        label = known[self.category] if len(self.items) else np.zeros(0, np.int64)
        wanted = label >= 0
        objects = self.used & wanted & ~self.crowd
        counts = np.bincount(label[objects], minlength=len(self.order))
        self.counts = dict(zip(map(str, self.order), counts.tolist(), strict=True))
        self.facts['objects'] = f'{objects.sum()} of {len(self.items)} annotations'
        unknown = int((~wanted).sum())
        if unknown and wanted.any():
            names = list(self.names.values())
            left = Counter(np.array(names, dtype=object)[self.category[~wanted]].tolist())
            some = first([f'{name} ({count})' for name, count in left.most_common()])
            self.say('note', f'{unknown} annotations of {self.path} are of categories that are no classes: {some}')
        if self.crowd.any():
            self.facts['crowds'] = f'{self.crowd.sum()} annotations, which are neither learnt nor counted as wrong'
        blamed = any(finding.level == 'error' for finding in self.findings)
        level = 'warning' if self.test_mode and not self.items else 'error'
        if not objects.any() and not blamed:
            if not self.items:
                text = f'{self.path} must have annotations, but has none'
            elif self.crowd[self.used & wanted].all() and (self.used & wanted).any():
                text = (
                    f'annotations of {self.path} must be of single objects, but all {self.crowd.sum()} have iscrowd=1, '
                    'so that mmdet neither learns nor counts them: set iscrowd to 0'
                )
            elif not wanted.any():
                text = f'{self.path} must have annotations of its classes, {first(self.order, 10)}, but has none'
            else:
                text = f'{self.path} must have objects to learn, but all {len(self.items)} annotations are left out'
            self.say(level, text)
        elif self.crowd.sum() * 2 > len(self.items):
            self.say(
                'warning',
                f'{self.crowd.sum()} of {len(self.items)} annotations of {self.path} have iscrowd=1, so that mmdet '
                'neither learns nor counts them',
            )
        absent = [name for name, count in self.counts.items() if not count]
        if absent and objects.any():
            level = 'note' if self.test_mode else 'warning'
            self.say(
                level, f'{len(absent)} of {len(self.order)} classes have no object in {self.path}: {first(absent, 10)}'
            )
        if not self.test_mode:
            self.left_out(label >= 0)

    def left_out(self, wanted: np.ndarray) -> None:
        """Say which images mmdet leaves out of a training, as ``CocoDataset.filter_data`` does."""
        smallest = self.filter_cfg.get('min_size', 0)
        small = self.shape.min(1) < smallest
        empty = np.ones(len(self.shape), dtype=bool)
        empty[self.image[wanted]] = False
        self.facts['images without objects'] = str(int(empty.sum()))
        dropped = [(small, f'are smaller than filter_cfg.min_size={smallest}')]
        if self.filter_cfg.get('filter_empty_gt'):
            dropped.append((empty, 'have no object and are left out (filter_cfg.filter_empty_gt)'))
        gone = np.zeros(len(self.shape), dtype=bool)
        for rows, why in dropped:
            gone |= rows
            if rows.any():
                few = first([self.file_names[i] for i in np.flatnonzero(rows)])
                self.say('note', f'{rows.sum()} of {len(rows)} images of {self.path} {why}: {few}')
        if gone.all() and not any(finding.level == 'error' for finding in self.findings):
            self.say('error', f'a training needs images, but all {len(gone)} of {self.path} are left out by filter_cfg')

    # ------------------------------------------------------------------ files

    def files(self, folder: Path, loading: Loading) -> None:
        """Look at the images: whether they are there, of the size that is written, and which are not listed."""
        found = check_present(self.key, self.sizes)
        self.findings += found
        if found:
            return
        self.findings += check_sizes(self.key, list(self.sizes.items()), loading, str(self.path))
        left = unread_images(folder, self.sizes) if folder.is_dir() and len(self.sizes) < 1e6 else []
        if left:
            self.say('note', f'{len(left)} images in {folder} are not in {self.path}, {by_suffix(left)}: {first(left)}')


_FORM = {list: 1, dict: 2}


def _called(what: str, item: dict, index: int) -> str:
    """Name an entry by what it has."""
    for field in ('id', 'file_name', 'name'):
        if isinstance(item.get(field), (int, str)):
            return f'{_ONE[what]} {item[field]!r}'
    return f'the {_ONE[what]} at place {index}'


_ONE = dict(images='image', annotations='annotation', categories='category')


def _short(value: object) -> str:
    """Write a value in a few letters."""
    text = repr(value)
    return text if len(text) < 60 else f'{text[:57]}...'


def _spread_of_sizes(shape: np.ndarray) -> str:
    """Say between which sizes images are."""
    low, mid, high = (np.array([f(side) for side in shape.T]) for f in (np.min, np.median, np.max))
    if (low == high).all():
        return f'{low[0]:g} x {low[1]:g} px'
    return f'{low[0]:g} to {high[0]:g} px wide, {low[1]:g} to {high[1]:g} px high (median {mid[0]:g} x {mid[1]:g})'
