# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with annotations in the format of PASCAL VOC: a list of names, and an XML file and a photo of each.

mmdet leaves out objects of other names without a word, and takes every photo to be a ``.jpg``.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from mmengine.config import ConfigDict

from .files import check_present, folder, spread
from .finding import Finding, Survey, first
from .sizes import Loading, check_sizes, loading_of

#: For how many seconds XML files are read before a run, evenly spread over the set.
SECONDS = 5
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def check_voc(
    key: str, dataset: ConfigDict, maker: type, classes: Sequence[str] | None, metrics: Sequence[str] = ()
) -> Survey:
    """Check a set of mmdet's ``XMLDataset``.

    Args:
        key (str): The config key of the dataset, for the findings.
        dataset (ConfigDict): Its config.
        maker (type): Its class.
        classes (Sequence[str], optional): The names that the model is to learn.
        metrics (Sequence[str]): Not used. Defaults to ().

    Returns:
        Survey: What was found.
    """
    survey = Survey(key, [], {}, {})

    def say(level: str, text: str) -> None:
        survey.findings.append(Finding(level, key, text))

    listing = folder(dataset, dataset.get('ann_file'))
    names = listing.read_text().splitlines()
    root = folder(dataset, (dataset.get('data_prefix') or {}).get('sub_data_root'))
    blank = [i + 1 for i, name in enumerate(names) if name != name.strip() or not name]
    if blank or not names:
        lines = f'lines {first(blank)} are blank or have spaces' if blank else 'it is empty'
        say('error', f'{listing} must hold the name of a photo, without suffix, on each line, but {lines}')
        return survey
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        say('warning', f'{listing} must hold each name once, but has {len(twice)} more often: {first(twice)}')
    photos = [root / dataset.get('img_subdir', 'JPEGImages') / f'{name}.jpg' for name in names]
    files = [root / dataset.get('ann_subdir', 'Annotations') / f'{name}.xml' for name in names]
    survey.facts['images'] = str(len(names))
    survey.findings.extend(check_present(key, files) + check_present(key, photos))
    if any(finding.level == 'error' for finding in survey.findings):
        return survey

    seen: Counter = Counter()
    broken, odd, outside, empty, sizes, read, learnt, hard = [], [], [], [], [], 0, 0, 0
    for path, photo in spread(list(zip(files, photos, strict=True)), SECONDS):
        read += 1
        try:
            tree = ET.parse(path).getroot()
        except ET.ParseError as error:
            broken.append(f'{path} ({error})')
            continue
        size = [_number(tree.find('size'), name) for name in ('height', 'width')]
        if tree.find('size') is not None and None in size:
            odd.append(f'{path}: size')
        elif tree.find('size') is not None:
            sizes.append((photo, size))
        for item in tree.findall('object'):
            name = item.findtext('name')
            box = [_number(item.find('bndbox'), corner) for corner in _CORNERS]
            if name is None or None in box:
                odd.append(f'{path}: {"an object without a name" if name is None else f"the box of a {name}"}')
                continue
            text = f'{path}: {name} {[f"{v:g}" for v in box]}'.replace("'", '')
            x1, y1, x2, y2 = box
            if x2 <= x1 or y2 <= y1:
                empty.append(text)
            elif None not in size and (x1 > size[1] + 1 or y1 > size[0] + 1 or x2 < 0 or y2 < 0):
                outside.append(text)
            elif None not in size and max(box) <= 1 < min(size):
                outside.append(f'{text}, which looks like shares of the image')
            else:
                seen[name] += 1
                difficult = item.findtext('difficult', '0').strip() not in ('0', '')
                hard += difficult
                learnt += name in (classes or ()) and not difficult
    of = f'of {read} files that were looked at' if read < len(files) else f'of {len(files)} files'
    if broken:
        say('error', f'annotations must be XML, but {len(broken)} {of} are not: {first(broken)}')
    if odd:
        say(
            'error',
            f'sizes, names and corners ({", ".join(_CORNERS)}) must be given, but {len(odd)} are not: {first(odd)}',
        )
    if outside:
        say('error', f'boxes must lie in their image, in pixels, but {len(outside)} do not: {first(outside)}')
    if empty:
        level = 'error' if len(empty) * 2 > sum(seen.values()) else 'warning'
        say(level, f'boxes must have xmin < xmax and ymin < ymax, but {len(empty)} have not: {first(empty)}')
    none = [size for size in sizes if min(size[1]) < 1]
    if none:
        say(
            'error',
            f'images must have a size, but {len(none)} files give none: {first([str(photo) for photo, _ in none])}',
        )
    other = {name: count for name, count in seen.items() if name not in (classes or ())}
    if classes and seen and not any(name in classes for name in seen):
        text = f'names of objects must be classes, {first(list(classes), 10)}, but all {sum(seen.values())} are others'
        say('error', f'{text}: {first(list(other), 10)}: set metainfo=dict(classes=...) in the dataset')
    elif other and classes:
        near = [name for name in other if name.strip().lower() in {str(c).strip().lower() for c in classes}]
        hint = (
            f'; names are compared letter by letter, and {first(near)} differ in case or spaces alone' if near else ''
        )
        some = first([f'{name!r} ({count})' for name, count in other.items()])
        text = f'{sum(other.values())} objects {of} have names that are no classes and are left out: {some}{hint}'
        say('warning' if near else 'note', text)
    elif not learnt and not survey.findings:
        text = f'all {hard} objects are difficult, which mmdet neither learns nor counts' if hard else 'there are none'
        say('error', f'files must have objects to learn, but {text}')
    survey.counts.update({str(name): seen[name] for name in classes or seen})
    absent = [name for name, count in survey.counts.items() if not count]
    if absent and learnt and read == len(files):
        level = 'note' if dataset.get('test_mode') else 'warning'
        say(level, f'{len(absent)} of {len(survey.counts)} classes have no object: {first(absent, 10)}')
    loading = loading_of(dataset.get('pipeline')) or (None if dataset.get('pipeline') else Loading())
    if loading and not none:
        survey.findings.extend(check_sizes(key, sizes, loading, 'its XML file'))
    survey.facts['XML files looked at'] = f'{read} of {len(files)}'
    return survey


def _number(node: ET.Element | None, name: str) -> float | None:
    """Return a number below a node, None where there is none."""
    try:
        value = float(node.findtext(name)) if node is not None else None
    except (TypeError, ValueError):
        return None
    return value if value is not None and abs(value) < float('inf') else None
