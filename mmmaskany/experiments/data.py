# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a person's images are: their task, classes and splits, and what had to be decided about them.

Four layouts are read: folders of classes, a list with labels, COCO json, and folders of images and of label maps. The
files decide, not a setting; what could be read in two ways is refused. What is wrong or odd within them is found by the
checks of every training, see :func:`mmmaskany.experiments.configs.find_odd`.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import near_duplicates

#: Endings of image files.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
#: More images than this are looked at in part, evenly spread.
SAMPLED = 5000
TASKS = ('classification', 'detection', 'segmentation')
_SPLITS = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}
_LISTS = ('.csv', '.tsv', '.txt', '.lst')
_IMAGE_COLUMNS = ('image', 'image_path', 'filename', 'file_name', 'file', 'filepath', 'path', 'img', 'image_id', 'id')
_LABEL_COLUMNS = ('label', 'class', 'category', 'class_name', 'label_name', 'target', 'species', 'y')
#: Words in the names of folders that hold images, and label maps.
_IMAGE_WORDS = {'image', 'images', 'img', 'imgs', 'jpegimages', 'photos', 'rgb', *_SPLITS}
_MAP_WORDS = {'mask', 'masks', 'label', 'labels', 'annotation', 'annotations', 'segmentation', 'gt', 'segmentations'}


class Sample(NamedTuple):
    """One image.

    Args:
        image (Path): Its file.
        label (int): Its class, of classification; else 0.
        labels (Path | None): Its label map, of segmentation.
        id (int): Its id in the COCO json, of detection.
    """

    image: Path
    label: int = 0
    labels: Path | None = None
    id: int = -1


@dataclass
class Split:
    """The images of one split.

    Args:
        samples (list[Sample]): Its images.
        root (Path): The folder that holds all of them.
        source (Path | None): The COCO json.
        content (dict | None): What that holds.
    """

    samples: list[Sample]
    root: Path
    source: Path | None = None
    content: dict | None = None


@dataclass
class Data:
    """What was found.

    Args:
        path (Path): What was given.
        task (str): One of :data:`TASKS`.
        layout (str): How the data lies there, in words.
        classes (list[str]): The names of the classes.
        splits (dict[str, Split]): 'train', 'val' and maybe 'test'.
        masks (bool): Whether objects have outlines, of detection. Defaults to False.
        zero (str): What 0 in a label map means, 'background' or 'unlabelled'. Defaults to 'background'.
        was_split (bool): Whether the validation was taken from the training here. Defaults to False.
        size (tuple[int, int]): Median width and height of the images. Defaults to (0, 0).
        boxes (np.ndarray): Width and height of the objects, relative to the longer side of their image, ``(N, 2)``.
        odd (list[str]): What is odd about the data, a sentence each.
    """

    path: Path
    task: str
    layout: str
    classes: list[str]
    splits: dict[str, Split]
    masks: bool = False
    zero: str = 'background'
    was_split: bool = False
    size: tuple[int, int] = (0, 0)
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    odd: list[str] = field(default_factory=list)

    def counts(self, split: str) -> list[int]:
        """Count the images of each class, or its objects.

        Args:
            split (str): Name of the split.

        Returns:
            list[int]: A number for each class; nothing of segmentation.
        """
        if self.task == 'classification':
            labels = [sample.label for sample in self.splits[split].samples]
        elif self.task == 'detection':
            content = self.splits[split].content
            names = {category['id']: category['name'] for category in content['categories']}
            known = {name: index for index, name in enumerate(self.classes)}
            labels = [known.get(names.get(box['category_id']), -1) for box in content['annotations']]
            labels = [label for label in labels if label >= 0]
        else:
            return []
        return np.bincount(labels, minlength=len(self.classes)).tolist()


def look(path: str | os.PathLike, task: str | None = None, zero: str | None = None, out: Path | None = None) -> Data:
    """Find out what a person's images are.

    Args:
        path (str | os.PathLike): A folder, a list of images with their labels, or a COCO json.
        task (str, optional): One of :data:`TASKS`, where the files could be read in two ways. Defaults to None.
        zero (str, optional): What 0 means in label maps, 'background' or 'unlabelled'. None tells by how much of the
            images it covers. Defaults to None.
        out (Path, optional): A folder that is not looked at. Defaults to None.

    Returns:
        Data: What was found, with a training and a validation split.

    Raises:
        FileNotFoundError: If there is nothing, or files that are named are missing.
        ValueError: If the files can be read in no way or in several, or cannot be trained on.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f'DATA must be a folder, a list or a COCO json, but there is no {path}')
    if task is not None and task not in TASKS:
        raise ValueError(f'the task must be one of {", ".join(TASKS)}, but got {task!r}')
    if zero not in (None, 'background', 'unlabelled'):
        raise ValueError(f"--zero-label must be 'background' or 'unlabelled', but got {zero!r}")
    path = _unwrapped(path.resolve())
    root = path if path.is_dir() else path.parent
    if out is not None and Path(out).expanduser().resolve() == path:
        raise ValueError(f'OUT must be another folder than DATA, but both are {path}')
    if out is not None and root in Path(out).expanduser().resolve().parents:
        _refuse_images(Path(out).expanduser().resolve())
    tree = _Tree(root, out)
    data = _file(path, tree, zero) if path.is_file() else _folder(path, tree, task, zero)
    if task is not None and data.task != task:
        raise ValueError(f'{path} must be data of {task}, but is {data.layout}, of {data.task}')
    if zero is not None and data.task != 'segmentation':
        raise ValueError(f'--zero-label needs label maps, but {path} holds {data.layout}, of {data.task}')
    _refuse(data)
    _measure(data)
    return data


def _refuse_images(out: Path) -> None:
    """Refuse to write among a person's images, where none would be looked at; an experiment's own are pictures."""
    if (out / 'experiment.json').is_file():
        return
    for folder, _, files in os.walk(out):
        if images := [name for name in files if name.lower().endswith(SUFFIXES)]:
            raise ValueError(f'OUT must be a folder of its own, but holds images of DATA: {Path(folder, images[0])}')


def _unwrapped(path: Path) -> Path:
    """Go down where a folder holds nothing but one folder, as unpacked archives often do."""
    while path.is_dir():
        inside = [one for one in path.iterdir() if one.name[0] not in '._']
        deeper = [one for one in inside[0].iterdir() if one.is_dir()] if len(inside) == 1 and inside[0].is_dir() else []
        if not deeper:
            return path
        path = inside[0]
    return path


class _Tree:
    """The image files below a folder, listed once."""

    def __init__(self, root: Path, out: Path | None = None) -> None:
        self.root = root
        self.images: dict[Path, list[str]] = {}
        self.others: list[Path] = []
        skip = None if out is None else str(Path(out).expanduser().resolve())
        for folder, folders, files in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders if name[0] not in '._' and os.path.join(folder, name) != skip)
            images = []
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES):
                    if not name.startswith('.'):
                        images.append(name)
                else:
                    self.others.append(Path(folder, name))
            if images:
                self.images[Path(folder)] = images

    def below(self, folder: Path) -> list[Path]:
        """List the images below a folder."""
        inside = str(folder) + os.sep
        return [
            place / name
            for place, names in self.images.items()
            if place == folder or str(place).startswith(inside)
            for name in names
        ]

    def place(self, name: str, split: str | None) -> Path | None:
        """Find the folder in which an image of a list or a json lies, such of the split first."""
        below = [self.root, *self._folders()]
        fitting = [folder for folder in below if (folder / name).is_file()]
        if not fitting:
            return None
        own = [folder for folder in fitting if split and split in map(_split_of, folder.relative_to(self.root).parts)]
        return (own or fitting)[0]

    def _folders(self) -> Iterator[Path]:
        """Yield the folders of images and those above them."""
        seen = {self.root}
        for folder in self.images:
            for one in (folder, *folder.parents):
                if one in seen:
                    break
                seen.add(one)
                yield one


def _split_of(name: str) -> str | None:
    """Return which split a file or folder is of by its name: of 'instances_train2017.json' the training."""
    for word in re.split(r'[^a-z]+', name.lower()):
        if word in _SPLITS:
            return _SPLITS[word]
    return None


def _folder(path: Path, tree: _Tree, task: str | None, zero: str | None) -> Data:
    """Read a folder in the one way that fits."""
    if not tree.images:
        raise FileNotFoundError(f'DATA must hold images ({" ".join(SUFFIXES)}), but {path} holds none')
    maps = _map_pairs(tree)
    readers: dict[str, Callable[[], Data | None]] = {
        'detection': lambda: _jsons(tree),
        'segmentation': lambda: _label_maps(tree, maps, zero),
        'classification': lambda: _class_folders(tree, maps),
        'classification ': lambda: _lists(tree),
    }
    found, problems = [], []
    for name, reader in readers.items():
        if task in (None, name.strip()):
            try:
                data = reader()
            except ValueError as error:
                problems.append(error)
            else:
                found += [data] if data else []
    # Folders such as 'images' beside a json or a list are no class.
    several = [data for data in found if len(data.classes) > 1 or data.task != 'classification']
    found = several or found
    if len(found) > 1:
        first, second = found[:2]
        how = f'--task {first.task} or --task {second.task}' if first.task != second.task else ''
        how = f'say {how}' if how else 'name the list itself, or take it out of there'
        raise ValueError(
            f'DATA must be of one kind, but {path} fits two readings, {first.layout} and {second.layout}: {how}'
        )
    if found and not (problems and not several):
        return found[0]
    if problems:
        raise problems[0]
    kinds = dict(
        classification='folders of classes or a list with labels',
        detection='images with a COCO json',
        segmentation='images with label maps',
    )
    wanted = f'{kinds[task]} for --task {task}' if task else ', '.join(kinds.values())
    raise ValueError(
        f'DATA must be {wanted}, but {path} holds {sum(map(len, tree.images.values()))} images and nothing that says '
        f'what they are{" for that task" if task else ""}'
    )


def _file(path: Path, tree: _Tree, zero: str | None) -> Data:
    """Read a list or a json."""
    if path.suffix.lower() == '.json':
        content = _read_coco(path)
        if content is None:
            raise ValueError(f'{path} must be COCO json, with images, annotations and categories, but is not')
        # Its images may lie beside its folder, as those of annotations/x.json do.
        names = [image['file_name'] for image in content['images'][:1]]
        for root in (path.parent, path.parent.parent):
            tree = tree if root == tree.root else _Tree(root)
            if all(tree.place(name, _split_of(path.stem)) for name in names):
                break
        return _coco({_split_of(path.stem) or 'train': (path, content)}, tree, f'COCO json ({path.name})')
    if path.suffix.lower() in _LISTS:
        rows = _read_list(path)
        # A list may lie beside the folder of its images, as meta/val.txt does.
        for root in (path.parent, path.parent.parent):
            tree = tree if root == tree.root else _Tree(root)
            data = _from_rows({'': rows}, tree, f'a list ({path.name})')
            if data is not None:
                return data
        raise FileNotFoundError(
            f'the first column of {path} must name images, as seen from there, but {rows[0][0]!r} is not there'
            if rows
            else f'{path} must name images and their labels, but holds none'
        )
    raise ValueError(f'DATA must be a folder, a list ({" ".join(_LISTS)}) or a COCO json, but got the file {path}')


# ---------------------------------------------------------------------- folders of classes


def _class_folders(tree: _Tree, maps: dict[Path, Path]) -> Data | None:
    """Read folders that are named by the class of their images, below folders of splits or not."""
    children = sorted({folder.relative_to(tree.root).parts[0] for folder in tree.images if folder != tree.root})
    used = {*maps, *maps.values()}
    names = [
        name
        for name in children
        if not any(folder == tree.root / name or tree.root / name in folder.parents for folder in used)
    ]
    splits = {}
    for name in names:
        below = {
            folder.relative_to(tree.root / name).parts[0]
            for folder in tree.images
            if tree.root / name in folder.parents
        }
        if _SPLITS.get(name.lower()) and below and tree.root / name not in tree.images:
            splits[_SPLITS[name.lower()]] = (name, sorted(below))
    if splits:
        others = [name for name in names if name not in [folder for folder, _ in splits.values()]]
        if others and 'train' in splits:
            raise ValueError(
                f'{tree.root} must hold folders of splits or folders of classes, but it fits two readings: beside '
                f'{splits["train"][0]} there is {others[0]}'
            )
        per_split = {split: {one: tree.root / name / one for one in below} for split, (name, below) in splits.items()}
    else:
        if not names or all(_split_of(name) for name in names) or {*map(str.lower, names)} <= _IMAGE_WORDS:
            return None
        per_split = {'train': {name: tree.root / name for name in names}}
    classes = sorted({name for folders in per_split.values() for name in folders})
    made = {}
    for split, folders in per_split.items():
        samples = [
            Sample(image, classes.index(name)) for name, folder in folders.items() for image in tree.below(folder)
        ]
        made[split] = Split(samples, tree.root)
    return Data(tree.root, 'classification', f'folders of {len(classes)} classes', classes, made)


# ---------------------------------------------------------------------- lists


def _lists(tree: _Tree) -> Data | None:
    """Read the lists of a folder: one, or one for each split."""
    found: dict[str, list[Path]] = {}
    for path in tree.others:
        if path.suffix.lower() in _LISTS and len(path.relative_to(tree.root).parts) <= 2:
            try:
                rows = _read_list(path)
            except ValueError:
                continue
            if rows and _locate(rows[0][0], tree, _split_of(path.stem)):
                found.setdefault(_split_of(path.stem) or '', []).append(path)
    if not found:
        return None
    twice = next((paths for paths in found.values() if len(paths) > 1), None)
    if twice or ('' in found and len(found) > 1):
        names = [str(path.relative_to(tree.root)) for path in twice or sum(found.values(), [])]
        raise ValueError(f'{tree.root} must hold one list, or one for each split, but holds {", ".join(names)}')
    rows = {split: _read_list(paths[0]) for split, paths in found.items()}
    names = ', '.join(str(paths[0].relative_to(tree.root)) for paths in found.values())
    return _from_rows(rows, tree, f'a list ({names})')


def _read_list(path: Path) -> list[tuple[str, str, str]]:
    """Read the image, the label and the split, or '', of each line.

    Raises:
        ValueError: If it is no text, or a line has no label.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} must be text in UTF-8, but is not') from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith('#')]
    if not lines:
        return []
    sign = next((sign for sign in ('\t', ',', ';') if sign in lines[0]), None)
    table = list(csv.reader(lines, delimiter=sign)) if sign else [line.strip().rsplit(None, 1) for line in lines]
    head = [cell.strip().lower() for cell in table[0]]
    image = next((head.index(name) for name in _IMAGE_COLUMNS if name in head), None)
    label = next((head.index(name) for name in _LABEL_COLUMNS if name in head), None)
    split = head.index('split') if 'split' in head else None
    if image is None or label is None:
        image, label, split = 0, 1, None
    else:
        table = table[1:]
    rows = []
    for number, cells in enumerate(table, 1):
        if len(cells) <= max(image, label):
            raise ValueError(f'each line of {path} must name an image and its label, but row {number} is {cells}')
        rows.append((cells[image].strip(), cells[label].strip(), cells[split].strip() if split is not None else ''))
    return rows


def _locate(name: str, tree: _Tree, split: str | None) -> tuple[Path, str] | None:
    """Find the folder of an image of a list, and the ending that its name lacks."""
    for suffix in ('', *SUFFIXES[:3]):
        place = Path(name).parent if Path(name).is_absolute() else tree.place(name + suffix, split)
        if place is not None and (place / (name + suffix)).is_file() and (name + suffix).lower().endswith(SUFFIXES):
            return (Path('/') if Path(name).is_absolute() else place), suffix
    return None


def _from_rows(rows: dict[str, list[tuple[str, str, str]]], tree: _Tree, layout: str) -> Data | None:
    """Make the data of rows, None where the first of them is not there."""
    labels = {label for own in rows.values() for _, label, _ in own}
    numbers = all(re.fullmatch(r'\d+', label) for label in labels)
    classes = sorted(labels, key=int if numbers else None)
    index = {name: place for place, name in enumerate(classes)}
    splits: dict[str, Split] = {}
    missing = []
    for listed, own in rows.items():
        where: dict[str, tuple[Path, str] | None] = {}
        for name, label, given in own:
            split = _SPLITS.get(given.lower(), listed or 'train') if given else listed or 'train'
            found = where.get(split)
            if found is None or not (found[0] / (name + found[1])).is_file():
                found = where[split] = _locate(name, tree, split)
            if found is None:
                if not splits:
                    return None
                missing.append(name)
                continue
            sample = Sample(found[0] / (name + found[1]), index[label])
            splits.setdefault(split, Split([], tree.root)).samples.append(sample)
    if missing:
        raise FileNotFoundError(
            f'{layout} must name images that are there, but {len(missing)} are missing: {", ".join(missing[:3])}'
        )
    return Data(tree.root, 'classification', f'{layout} of {len(classes)} classes', classes, splits) if splits else None


# ---------------------------------------------------------------------- COCO


def _jsons(tree: _Tree) -> Data | None:
    """Read the COCO jsons of a folder."""
    found: dict[str, list[tuple[Path, dict]]] = {}
    for path in tree.others:
        if path.suffix.lower() != '.json':
            continue
        content = _read_coco(path)
        if content is not None:
            parts = [path.stem, *reversed(path.relative_to(tree.root).parts[:-1])]
            split = next(filter(None, map(_split_of, parts)), 'train')
            found.setdefault(split, []).append((path, content))
    for split, own in found.items():
        if len(own) > 1:
            own = [one for one in own if 'instances' in one[0].stem.lower()] or own
            if len(own) > 1:
                names = ', '.join(str(path.relative_to(tree.root)) for path, _ in own)
                raise ValueError(f'{tree.root} must hold one COCO json for the {split} data, but holds {names}')
            found[split] = own
    if not found:
        return None
    names = ', '.join(str(own[0][0].relative_to(tree.root)) for own in found.values())
    return _coco({split: own[0] for split, own in found.items()}, tree, f'COCO json ({names})')


def _read_coco(path: Path) -> dict | None:
    """Read a json; None where it is not COCO's with boxes."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(content, dict) or not {'images', 'annotations', 'categories'} <= content.keys():
        return None
    boxes = content['annotations']
    return content if not boxes or (isinstance(boxes[0], dict) and 'bbox' in boxes[0]) else None


def _coco(found: dict[str, tuple[Path, dict]], tree: _Tree, layout: str) -> Data:
    """Make the data of COCO jsons."""
    splits, odd = {}, []
    for split, (path, content) in found.items():
        samples, lost = [], []
        place = None
        for image in content['images']:
            name = image['file_name']
            if place is None or not (place / name).is_file():
                place = tree.place(name, split) or place
            if place is None or not (place / name).is_file():
                lost.append(name)
            else:
                samples.append(Sample(place / name, id=image['id']))
        if lost:
            raise FileNotFoundError(
                f'{len(lost)} of {len(content["images"])} images of {path} must lie below {tree.root}, but do not: '
                f'{", ".join(lost[:3])}'
            )
        pairs = zip(samples, content['images'], strict=True)
        roots = {str(sample.image).removesuffix(image['file_name']) for sample, image in pairs}
        if len(roots) > 1:
            raise ValueError(f'the images of {path} must lie in one folder, but lie in {", ".join(sorted(roots))}')
        splits[split] = Split(samples, Path(next(iter(roots), tree.root)), path, content)
    content = splits['train' if 'train' in splits else next(iter(splits))].content
    used = Counter(box['category_id'] for box in content['annotations'])
    categories = [category for category in content['categories'] if used[category['id']]]
    unused = [str(category['name']) for category in content['categories'] if not used[category['id']]]
    if unused:
        odd.append(f'No object is of the categories {_some(unused)}: they are left out.')
    boxes = [box for box in content['annotations'] if not box.get('iscrowd')]
    outlined = sum(bool(box.get('segmentation')) for box in boxes)
    classes = [str(category['name']) for category in categories]
    masks = bool(boxes) and outlined == len(boxes)
    if outlined and not masks:
        odd.append(f'Only {outlined} of {len(boxes)} objects have outlines: boxes alone are learned.')
    layout = f'{layout}: {"outlines" if masks else "boxes"} of {len(classes)} classes'
    return Data(tree.root, 'detection', layout, classes, splits, masks=masks, odd=odd)


# ---------------------------------------------------------------------- images and label maps


def _map_pairs(tree: _Tree) -> dict[Path, Path]:
    """Find folders of label maps: for each its folder of images, of the same names."""
    stems = {folder: {Path(name).stem for name in names} for folder, names in tree.images.items()}
    pairs = {}
    for folder, names in tree.images.items():
        if not all(name.lower().endswith('.png') for name in names) or not _is_map(folder / names[0]):
            continue
        words = {word for part in folder.relative_to(tree.root).parts for word in re.split(r'[^a-z]+', part.lower())}
        partners = [
            other
            for other in tree.images
            if other != folder
            and len(stems[folder] & stems[other]) >= max(1, len(stems[folder]) // 2)
            and (words & _MAP_WORDS or not _is_map(other / tree.images[other][0]))
        ]
        if words & _MAP_WORDS:
            partners = [other for other in partners if not _words(other, tree) & _MAP_WORDS]
        same = [other for other in partners if _split_among(other, tree) == _split_among(folder, tree)]
        if same:
            pairs[folder] = same[0]
    return pairs


def _words(folder: Path, tree: _Tree) -> set[str]:
    parts = folder.relative_to(tree.root).parts
    return {word for part in parts for word in re.split(r'[^a-z]+', part.lower())}


def _split_among(folder: Path, tree: _Tree) -> str | None:
    return next(filter(None, map(_split_of, folder.relative_to(tree.root).parts)), None)


def _is_map(path: Path) -> bool:
    """Tell whether an image has one channel, by its header alone."""
    try:
        with Image.open(path) as image:
            return image.mode in ('L', 'P', '1', 'I', 'I;16')
    except OSError:
        return False


def _label_maps(tree: _Tree, pairs: dict[Path, Path], zero: str | None) -> Data | None:
    """Read folders of images and of label maps."""
    if not pairs:
        return None
    splits: dict[str, Split] = {}
    odd, without = [], 0
    for maps, images in pairs.items():
        split = _split_among(maps, tree) or 'train'
        if split in splits:
            raise ValueError(f'the {split} label maps must lie in one folder, but lie in {maps} and elsewhere')
        labels = {Path(name).stem: maps / name for name in tree.images[maps]}
        own = [Sample(images / name, labels=labels.get(Path(name).stem)) for name in tree.images[images]]
        without += sum(sample.labels is None for sample in own)
        splits[split] = Split([sample for sample in own if sample.labels], images)
    if without:
        odd.append(f'{without} images have no label map and are left out.')
    covered: Counter = Counter()
    every = [sample for split in splits.values() for sample in split.samples]
    for sample in _spread(every, SAMPLED):
        try:
            with Image.open(sample.labels) as image:
                ids, counts = np.unique(np.asarray(image), return_counts=True)
        except OSError as error:
            raise ValueError(f'label maps must be images, but {sample.labels} is not: {error}') from error
        covered.update(dict(zip(ids.tolist(), (counts / counts.sum()).tolist(), strict=True)))
    ids = sorted(set(covered) - {255})
    if ids == [0] and 255 in covered:
        raise ValueError(
            f'label maps must hold the number of a class in each pixel, 255 for none, but those of {tree.root} hold '
            '0 and 255 alone: write 1 in place of 255'
        )
    share = covered[0] / sum(covered.values())
    if zero is None:
        zero = 'unlabelled' if 0 in ids and len(ids) > 3 and share < 0.25 else 'background'
    count = max(ids) + (zero == 'background')
    named = [path for path in tree.others if path.name.lower() in ('classes.txt', 'labels.txt')]
    names = named[0].read_text().split('\n') if named else []
    names = [name.strip() for name in names if name.strip()]
    if len(names) != count:
        first = int(zero == 'unlabelled')
        names = [f'class {number}' for number in range(first, first + count)]
        if zero == 'background':
            names[0] = 'background'
    if 0 in ids:
        odd.append(
            f'0 covers {100 * share:.0f} % of the label maps and is taken as '
            + ('no label' if zero == 'unlabelled' else 'a class, the background')
            + f'; --zero-label {"background" if zero == "unlabelled" else "unlabelled"} takes it otherwise.'
        )
    return Data(
        tree.root, 'segmentation', f'images with label maps of {count} classes', names, splits, zero=zero, odd=odd
    )


# ---------------------------------------------------------------------- what must hold, and what is odd


def _refuse(data: Data) -> None:
    """Refuse what cannot be trained on, and settle what is for training and what for validation."""
    if 'train' not in data.splits:
        only = next(iter(data.splits))
        data.splits['train'] = data.splits.pop(only)
        data.odd.append(f'There is {only} data alone: it is taken for the training.')
    if 'val' not in data.splits and 'test' in data.splits:
        data.splits['val'] = data.splits.pop('test')
    if not data.splits['train'].samples:
        raise FileNotFoundError(f'DATA must hold images to train on, but {data.path} ({data.layout}) holds none')
    if len(data.classes) < 2 and data.task != 'detection':
        raise ValueError(
            f'DATA must hold at least two classes, but {data.path} holds '
            + (f'one, {data.classes[0]!r}' if data.classes else 'none')
        )
    if not data.classes:
        raise ValueError(f'the annotations of {data.path} must hold objects, but hold none')
    if data.task == 'classification':
        counts = data.counts('train')
        single = [name for name, count in zip(data.classes, counts, strict=True) if count == 1]
        if single:
            raise ValueError(
                f'each class must have at least two images to train on, but {_some(single)} of {data.path} has one: '
                'add images, or take the class out'
            )
        empty = [name for name, count in zip(data.classes, counts, strict=True) if not count]
        if empty:
            raise ValueError(f'each class must have images to train on, but {_some(empty)} of {data.path} has none')


def _measure(data: Data) -> None:
    """Look at the image files: sizes, which cannot be read, near-duplicates; split what was not split."""
    names = list(data.splits)
    seen, sizes, broken = {}, [], []
    must_split = 'val' not in data.splits
    modes: Counter = Counter()
    for name in names:
        samples = data.splits[name].samples
        chosen = samples if must_split else _spread(samples, max(1, SAMPLED * len(samples) // _total(data)))
        vectors, kept = [], []
        for sample in chosen:
            try:
                with Image.open(sample.image) as image:
                    size, mode = image.size, image.mode
                    turned = image.getexif().get(0x0112, 1) > 4 if image.format == 'JPEG' else False
                    vectors.append(near_duplicates.thumbnail(image))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                broken.append(sample)
                continue
            sizes.append(size[::-1] if turned else size)
            modes[mode] += 1
            kept.append(sample)
        seen[name] = kept, np.stack(vectors) if vectors else np.zeros((0, 3 * near_duplicates.SIDE**2), np.float32)
    if broken:
        _drop(data, broken)
    if not sizes:
        raise ValueError(f'DATA must hold images that can be read, but none of {data.path} can')
    data.size = tuple(int(value) for value in np.median(np.array(sizes), 0))
    if must_split:
        _split(data, *seen['train'])
    else:
        kept, vectors = seen['train']
        alike = near_duplicates.find_pairs(vectors, seen['val'][1])
        if len(alike):
            one, other = kept[alike[0][0]].image, seen['val'][0][alike[0][1]].image
            data.odd.append(
                f'{len({*alike[:, 1].tolist()})} validation images look like one of the training, such as '
                f'{_short(other, data)} and {_short(one, data)}: what is measured may be too good.'
            )
    kinds = {mode: count for mode, count in modes.items() if mode not in ('RGB', 'L')}
    if kinds:
        some = ', '.join(f'{count} are {mode}' for mode, count in kinds.items())
        data.odd.append(f'Not all images are RGB or gray: {some}; they are read as RGB.')
    _classes_of(data)
    if data.task == 'detection':
        _boxes(data)


def _total(data: Data) -> int:
    return sum(len(split.samples) for split in data.splits.values())


def _drop(data: Data, broken: Sequence[Sample]) -> None:
    """Leave out images that cannot be read."""
    gone = {sample.image for sample in broken}
    text = f'{len(gone)} images cannot be read and are left out: {_some([_short(path, data) for path in sorted(gone)])}'
    data.odd.append(f'{text}.')
    for split in data.splits.values():
        split.samples = [sample for sample in split.samples if sample.image not in gone]
        _keep(split)
    try:
        _refuse(data)
    except ValueError as error:
        raise ValueError(f'{error}; {text}') from error


def _keep(split: Split) -> None:
    """Keep in a json what belongs to the samples alone."""
    if split.content is not None:
        ids = {sample.id for sample in split.samples}
        split.content = dict(
            split.content,
            images=[image for image in split.content['images'] if image['id'] in ids],
            annotations=[box for box in split.content['annotations'] if box['image_id'] in ids],
        )


def _split(data: Data, samples: list[Sample], vectors: np.ndarray) -> None:
    names = [os.path.relpath(sample.image, data.path if data.path.is_dir() else data.path.parent) for sample in samples]
    if len(samples) < 2:
        raise ValueError(f'DATA must hold at least two images, but {data.path} holds {len(samples)}')
    in_val = near_duplicates.split(names, _strata(data, samples), vectors)
    if not any(in_val):
        raise ValueError(
            f'DATA must hold images that differ, to validate on some of them, but all of {data.path} look the same'
        )
    train = data.splits['train']
    for name, wanted in (('val', True), ('train', False)):
        own = [sample for sample, inside in zip(samples, in_val, strict=True) if inside is wanted]
        data.splits[name] = Split(own, train.root, train.source, train.content)
        _keep(data.splits[name])
    data.was_split = True


def _strata(data: Data, samples: Sequence[Sample]) -> list[int]:
    """Return the class of each image, of which each split gets its share: of several objects that of the rarest."""
    content = data.splits['train'].content
    if content is None:
        return [sample.label for sample in samples]
    counts = Counter(box['category_id'] for box in content['annotations'])
    order = [category for category, _ in counts.most_common()]
    rarest: dict[int, int] = {}
    for box in content['annotations']:
        rarest[box['image_id']] = max(rarest.get(box['image_id'], 0), 1 + order.index(box['category_id']))
    return [rarest.get(sample.id, 0) for sample in samples]


def _classes_of(data: Data) -> None:
    """Say where classes are very unequal, or lack a validation image."""
    train, val = data.counts('train'), data.counts('val')
    if not train:
        return
    what = 'images' if data.task == 'classification' else 'objects'
    least, most = int(np.argmin(train)), int(np.argmax(train))
    if train[most] >= 5 * max(train[least], 1):
        data.odd.append(
            f'Classes are unequal: {data.classes[most]} has {train[most]} {what} to train on, {data.classes[least]} '
            f'{train[least]}. The class mean counts each class alike.'
        )
    absent = [name for name, count in zip(data.classes, val, strict=True) if not count]
    if absent and data.task == 'classification':
        data.odd.append(f'No image to validate on: {_some(absent)}.')


def _boxes(data: Data) -> None:
    """Take the sizes of the objects to train on."""
    content = data.splits['train'].content
    longer = {image['id']: max(image['width'], image['height'], 1) for image in content['images']}
    boxes = np.array([np.array(box['bbox'][2:4]) / longer[box['image_id']] for box in content['annotations']])
    boxes = boxes.reshape(-1, 2)
    usable = (boxes > 0).all(1)
    data.boxes = boxes[usable]
    if not len(data.boxes):
        raise ValueError(f'the annotations of {data.path} must hold boxes with an area, but hold none')


def _spread(items: Sequence, count: int) -> list:
    """Take at most so many, evenly spread."""
    return list(items) if len(items) <= count else [items[index * len(items) // count] for index in range(count)]


def _short(path: Path, data: Data) -> str:
    return os.path.relpath(path, data.path if data.path.is_dir() else data.path.parent)


def _some(names: Sequence[str], count: int = 3) -> str:
    return ', '.join(names[:count]) + (f' and {len(names) - count} more' if len(names) > count else '')
