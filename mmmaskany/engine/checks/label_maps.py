# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with the images and label maps of a segmentation set.

mmseg casts whatever a label map holds to eight bits, and takes colours for ids; what is ignored by mistake costs
nothing in loss and metric, so that a training on nothing looks perfect. Maps are looked at for some seconds, evenly
spread over
the set; the ids and sizes of all others are checked when they are loaded.
"""

from collections import Counter
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import ConfigDict
from PIL import Image

from mmmaskany.datasets.label_map import check_label_map

from .files import by_suffix, check_present, spread, unread_images
from .finding import Finding, Survey, first
from .sizes import Loading, check_sizes, loading_of

#: For how many seconds the label maps of a split are read before the training.
SECONDS = 10
#: How many maps must be read, unless all are, to say that what was not seen is not there.
ENOUGH = 100


def check_segmentation(key: str, dataset: ConfigDict, maker: type) -> Survey:
    """Check the images and label maps of a set of mmseg, or a semantic one of mmdet.

    Args:
        key (str): The config key of the dataset, for the findings.
        dataset (ConfigDict): Its config.
        maker (type): Its class.

    Returns:
        Survey: What was found. Errors are files that are missing or cannot be read, ids that no class has or that are
            changed when they are loaded, sizes that differ, and maps that hold one class or none.
    """
    # A config that is inherited from a library carries its scope.
    arguments = {name: value for name, value in dataset.items() if name not in ('type', '_scope_')}
    built = maker(**{**arguments, 'lazy_init': True, 'pipeline': []})
    samples = built.load_data_list()
    survey = Survey(key, [], {}, {})
    images = [Path(sample['img_path']) for sample in samples]
    _check_unread(survey, built, images)
    if not samples:
        return survey
    survey.facts['images'] = str(len(samples))
    has_maps = 'seg_map_path' in samples[0]
    maps = [Path(sample['seg_map_path']) for sample in samples] if has_maps else []
    survey.findings.extend(check_present(key, images))
    if has_maps:
        survey.findings.extend(check_present(key, maps))
    if not has_maps or any(finding.level == 'error' for finding in survey.findings):
        return survey

    steps = [step for step in dataset.get('pipeline') or () if isinstance(step, dict)]
    steps = [step for step in steps if str(step.get('type')).rpartition('.')[2].rstrip("'>") == 'LoadAnnotations']
    reading = _Reading(built, steps[0] if steps else {})
    if reading.contradicts:
        text = (
            f'reduce_zero_label of the dataset and of its LoadAnnotations must be the same, but are '
            f'{built.reduce_zero_label} and {reading.reduce_zero_label}'
        )
        survey.findings.append(Finding('error', key, text))
        return survey
    shapes, read = [], 0
    for image, path in spread(list(zip(images, maps, strict=True)), SECONDS):
        read += 1
        shape = reading.add(path)
        if shape is not None:
            shapes.append((image, shape))
    loading = loading_of(dataset.get('pipeline')) or (None if dataset.get('pipeline') else Loading())
    if loading:
        survey.findings.extend(check_sizes(key, shapes, loading, 'its label map'))
    survey.findings.extend(reading.conclude(key, read, len(maps), built.test_mode))
    survey.counts.update({name: reading.maps[i] for i, name in enumerate(map(str, reading.classes))})
    survey.facts['label maps looked at'] = f'{read} of {len(maps)}'
    survey.facts['kinds of label maps'] = ', '.join(f'{n} {" ".join(kind)}' for kind, n in reading.kinds.most_common(4))
    return survey


def _check_unread(survey: Survey, built, images: list[Path]) -> None:
    """Say which images of a folder the suffix leaves out."""
    folder = Path(built.data_prefix.get('img_path') or '')
    listed = built.ann_file and not Path(built.ann_file).is_dir()
    left = [] if listed or not folder.is_dir() else unread_images(folder, images)
    if not images:
        text = f'{folder} must hold images *{built.img_suffix}, but holds none'
        text += f'; it holds {by_suffix(left)}: {first(left)}. img_suffix=... names another suffix' if left else ''
        survey.findings.append(Finding('error', survey.key, text, FileNotFoundError))
    elif left and Path(built.data_prefix.get('seg_map_path') or '') != folder:
        text = (
            f'{len(left)} of {len(left) + len(images)} images in {folder} are not read, for img_suffix is '
            f'{built.img_suffix!r}: {by_suffix(left)}: {first(left)}. Give all one suffix, or put a set for each '
            'into a ConcatDataset'
        )
        survey.findings.append(Finding('warning', survey.key, text))


class _Reading:
    """Label maps as their library reads them, and what was seen in them."""

    def __init__(self, built, step: dict) -> None:
        library = type(built).__module__.partition('.')[0]
        own = getattr(built, 'reduce_zero_label', None)
        asked = step.get('reduce_zero_label')
        self.contradicts = asked is not None and own is not None and bool(asked) != bool(own)
        self.reduce_zero_label = bool(own if own is not None and not self.contradicts else asked)
        self.backend = step.get('imdecode_backend', 'cv2' if library == 'mmdet' else 'pillow')
        self.ignore_index = getattr(built, 'ignore_index', step.get('ignore_index', 255))
        self.classes = built.metainfo['classes']
        self.to_class = np.arange(256, dtype=np.uint8)  # what mmseg's LoadAnnotations makes of each id
        if self.reduce_zero_label:
            self.to_class[0] = 255
            self.to_class -= 1
            self.to_class[self.to_class == 254] = 255
        before = self.to_class.copy()
        for old, new in (built.label_map or {}).items():
            self.to_class[before == old] = new
        self.seen = np.zeros(256, dtype=np.int64)  # label maps that hold each id, as stored
        self.maps: Counter = Counter()  # and each class
        self.kinds: Counter = Counter()
        self.broken: list[str] = []
        self.colours: list[str] = []
        self.lossy: list[str] = []
        self.changed: list[str] = []
        self.wrong: list[str] = []

    def add(self, path: Path) -> tuple[int, int] | None:
        """Look at one label map; return its height and width."""
        try:
            with Image.open(path) as image:
                kind, truth = (image.format, image.mode), np.array(image) if image.mode != 'L' else None
            raw = mmcv.imfrombytes(path.read_bytes(), flag='unchanged', backend=self.backend)
            raw = raw.squeeze() if raw.ndim > 2 else raw
        except Exception as error:  # whatever a decoder raises
            self.broken.append(f'{path} ({type(error).__name__}: {error})')
            return None
        self.kinds[kind] += 1
        if kind[0] == 'JPEG':
            self.lossy.append(str(path))
        elif raw.ndim != 2:
            same = kind[1].startswith('RGB') and (raw[..., :3] == raw[..., :1]).all()
            self.colours.append(f'{path} ({kind[1]}{", of three equal channels" if same else ""})')
        else:
            numbers = raw.astype(np.float64)
            ids = raw.astype(np.uint8)
            # 65535 becomes 255, which is ignored like it
            lost = ~np.isfinite(numbers) | ((ids != numbers) & ~((numbers == 65535) & (self.ignore_index == 255)))
            if truth is not None and truth.shape == raw.shape:
                lost |= truth.astype(np.float64) != numbers
            if lost.any():
                given = (numbers if truth is None else truth.astype(np.float64))[lost]
                some = [
                    f'{a:g} to {b}'
                    for a, b in dict(zip(given[:1000].tolist(), ids[lost][:1000].tolist(), strict=True)).items()
                ]
                self.changed.append(f'{path} ({kind[0]} of mode {kind[1]}): {first(some)}')
            else:
                self._count(ids, path)
        return raw.shape[:2]

    def _count(self, ids: np.ndarray, path: Path) -> None:
        found = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
        self.seen[found] += 1
        classes = np.unique(self.to_class[found]).astype(np.int64)
        self.maps.update(classes.tolist())
        try:
            check_label_map(classes, len(self.classes), self.ignore_index, self.reduce_zero_label, path)
        except ValueError as error:
            self.wrong.append(str(error))

    def conclude(self, key: str, read: int, total: int, test_mode: bool) -> list[Finding]:
        """Say what the maps that were looked at have in common."""
        of = f'of {read} that were looked at' if read < total else f'of {total}'
        found = []

        def say(level: str, text: str) -> None:
            found.append(Finding(level, key, text))

        if self.broken:
            say('error', f'label maps must be images, but {len(self.broken)} {of} are not: {first(self.broken)}')
        if self.lossy:
            say(
                'error',
                f'label maps must be stored without loss, but {len(self.lossy)} {of} are JPEG, which changes ids: '
                f'{first(self.lossy)}. Write them anew as PNG, from where they came',
            )
        if self.colours:
            palette = "; imdecode_backend='pillow' of LoadAnnotations reads the ids of a palette"
            say(
                'error',
                f'label maps must hold one id per pixel, but {len(self.colours)} {of} are loaded as colours: '
                f'{first(self.colours)}: write a map of one channel'
                + (palette if '(P)' in self.colours[0] and self.backend != 'pillow' else ''),
            )
        if self.changed:
            say(
                'error',
                f'ids of label maps must be whole numbers from 0 to 255, as the library keeps eight bits, but '
                f'{len(self.changed)} {of} are changed when they are loaded: {first(self.changed)}'
                + (
                    "; imdecode_backend='pillow' of LoadAnnotations reads maps of one bit as they are"
                    if 'mode 1)' in self.changed[0]
                    else ''
                ),
            )
        ids, count = np.flatnonzero(self.seen).tolist(), len(self.classes)
        present = [i for i in range(count) if self.maps[i]]
        binary = ids == [0, 255] and count > 1
        if self.wrong:
            more = f' ({len(self.wrong)} {of} label maps hold such)' if len(self.wrong) > 1 else ''
            hint = '. Where 255 means the object, write 1' if binary else ''
            say('error', f'{self.wrong[0]}{more}{hint}')
        if found:
            return found

        sure = read == total or read >= ENOUGH
        level = 'error' if sure and not test_mode else 'warning'
        names = [str(name) for name in self.classes]
        kept = 'reduce_zero_label=False keeps 0 as a class, here and in LoadAnnotations'
        if binary and len(present) < 2:
            say(
                level,
                f'label maps must hold the ids of {count} classes, but all {of[3:]} hold 0 and 255 alone, and '
                '255 is ignored, so that nothing is left to be told apart: where 255 means the object, write 1',
            )
        elif not present:
            say(
                level,
                f'label maps must hold classes, but all {of[3:]} hold {first(ids)} alone, which is ignored',
            )
        elif len(present) == 1:
            hint = ''
            if self.reduce_zero_label and 0 in ids:
                hint = f': reduce_zero_label=True ignores 0 and makes 1 the first class; {kept}'
            say(
                level,
                f'label maps must hold two classes or more to be told apart, but all {of[3:]} hold '
                f'{names[present[0]]!r} alone (ids {first(ids)}){hint}',
            )
        elif len(present) < count and sure:
            absent = [names[i] for i in range(count) if i not in present]
            hint, level = '', 'note'
            if self.reduce_zero_label and absent == names[-1:] and 0 in ids:
                level, hint = 'warning', f'. If 0 is {names[0]!r} and not unlabelled, {kept}'
            elif len(absent) == 1 and self.seen[255] and self.ignore_index == 255:
                level, hint = 'warning', f'. 255 does, and is ignored: if it means {absent[0]!r}, write its own id'
            where = f'the {total} label maps' if read == total else f'{read} of {total} label maps'
            say(level, f'{len(absent)} of {count} classes never occur in {where}: {first(absent, 10)}{hint}')
        return found
