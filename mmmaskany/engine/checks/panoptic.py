# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Whether the maps of a panoptic set hold the segments that its json lists.

mmdet looks for the pixels of each listed segment and ignores all others: a map that fits no list gives empty masks and
ignored pixels, without a word. Maps are looked at for some seconds, evenly spread over the set.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import mmcv
import numpy as np

from .files import spread
from .finding import Finding, first

#: For how many seconds the maps of a split are read.
SECONDS = 2
#: The id of a pixel by its R, G and B.
_ID = np.array([1, 256, 256**2])


def check_panoptic(key: str, content: dict, folder: Path) -> Iterator[Finding]:
    """Compare the segments of a panoptic json with the pixels of its maps.

    Args:
        key (str): The config key of the dataset.
        content (dict): The json, whose fields were checked.
        folder (Path): The folder of the maps, which are there.

    Yields:
        Finding: An error where most segments have no pixel, most pixels no segment, a map is of another size than its
            image, or an id occurs twice in an image; a warning where some have none.
    """
    segments = defaultdict(list)
    for annotation in content['annotations']:
        segments[annotation['image_id']] += annotation['segments_info']
    twice = [
        f'{number!r} of image {image!r}'
        for image, parts in segments.items()
        for number, count in Counter(part['id'] for part in parts).items()
        if count > 1
    ]
    if twice:
        text = f'segments of an image must each have another id, but {len(twice)} ids occur twice: {first(twice)}'
        yield Finding('error', key, text)
    images = [image for image in content['images'] if segments[image['id']]]
    maps = listed = pixels = unknown = 0
    broken, sizes, lacking, strange, advice = [], [], [], [], ''
    for image in spread(images, SECONDS) if images else ():
        path = folder / image['file_name'].replace('.jpg', '.png')  # as mmdet names it
        maps += 1
        try:
            colours = mmcv.imfrombytes(path.read_bytes(), flag='color', channel_order='rgb')
            height, width = colours.shape[:2]
        except Exception:  # whatever a decoder raises
            broken.append(path)
            continue
        if (height, width) != (image['height'], image['width']):
            sizes.append(f'{path} is {width} x {height} px, and {image["width"]} x {image["height"]} are written')
            continue
        found, counts = np.unique(colours @ _ID, return_counts=True)
        wanted = {part['id'] for part in segments[image['id']] if part['area'] > 0}
        absent = wanted.difference(found.tolist())
        listed += len(wanted)
        lacking += [f'segment {number!r} of {path}' for number in absent]
        if absent and not advice:
            advice = _why(colours, absent)
        other = (found != 0) & ~np.isin(found, [part['id'] for part in segments[image['id']]])
        pixels += counts[found != 0].sum()
        unknown += counts[other].sum()
        strange += [f'{number} of {path}' for number in found[other].tolist()]
    of = f'of {maps} that were looked at' if maps < len(images) else f'of {maps}'
    if broken:
        text = f'panoptic maps must be images that OpenCV reads, but {len(broken)} {of} are not: {first(broken)}'
        yield Finding('error', key, text)
    if sizes:
        yield Finding('error', key, f'panoptic maps must be of the size of their image, but {first(sizes)}')
    if lacking:
        yield Finding(
            'error' if len(lacking) * 2 > listed else 'warning',
            key,
            f'segments must have pixels, R + 256 G + 65536 B = id, but the maps, {of}, lack {len(lacking)} of {listed} '
            f'segments: {first(lacking)}{advice}',
        )
    if strange:
        yield Finding(
            'error' if unknown * 2 > pixels else 'warning',
            key,
            f'pixels must be of a listed segment, or 0, but {100 * unknown / pixels:.1f} % in the maps, {of}, are of '
            f'others and are ignored: id {first(strange)}',
        )


def _why(colours: np.ndarray, absent: set) -> str:
    """Say how ids were written that a map lacks as mmdet reads it."""
    ids = np.unique(colours[..., ::-1] @ _ID)
    if absent.issubset(ids.tolist()):
        return '. With R and B exchanged they have them'
    if (colours[..., 1:] == colours[..., :1]).all() and absent.issubset(np.unique(colours[..., 0]).tolist()):
        return '. They are gray values: write id % 256, id // 256 % 256 and id // 65536 as R, G and B'
    return ''
