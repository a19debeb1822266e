# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Predict the classes, boxes or label maps of images, by a network that was trained.

DIR is what `mmmaskany finetune` or `tools/train.py` wrote; of several runs it is said which one is taken. IMAGES are
files, folders, which are searched, or patterns such as `photos/*.jpg`. What cannot be read is named and left out.

    mmmaskany predict work_dirs/quickstart/MaskAny data/digits/val/7 --csv sevens.csv
"""

from __future__ import annotations

import argparse
import csv
import glob
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.registry import TRANSFORMS, VISUALIZERS
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from .trained import FoundRun, Trained, find_run, load_trained, quietly

#: What is taken for an image in a folder.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.ppm', '.pgm', '.jp2', '.jfif', '.avif')
#: Least score of a detection, where none is given.
SCORE = 0.3
#: Images that a classifier takes at a time.
BATCH = 16
#: Rows of the table on the screen; files have them all.
ROWS = 40


def predict(
    folder: str | os.PathLike | FoundRun,
    images: str | os.PathLike | Sequence[str | os.PathLike],
    score: float | None = None,
    draw: str | os.PathLike | None = None,
    maps: str | os.PathLike | None = None,
    device: str | None = None,
    progress: Callable[[Sequence], Iterable] = iter,
) -> list[dict]:
    """Predict what is on images.

    Args:
        folder (str | os.PathLike | FoundRun): What a training wrote, see :func:`find_run`.
        images (str | os.PathLike | Sequence): Files, folders and patterns, see :func:`list_images`.
        score (float | None): Least score of a detection. None is 0.3, of a detector. Defaults to None.
        draw (str | os.PathLike | None): Folder for pictures of the predictions. Defaults to None.
        maps (str | os.PathLike | None): Folder for the label maps of a segmentor, PNG files of one number a pixel:
            the place of its class in the list of classes, from 0. Defaults to None.
        device (str | None): Where to; None is the first GPU, or the CPU where there is none. Defaults to None.
        progress (Callable): Is given the images and yields them. Defaults to ``iter``.

    Returns:
        list[dict]: For each image its path, ``image``, and what was predicted. Of a classifier ``class``, ``label``,
        ``score`` and the five best, ``top``; of a detector ``objects``, each with ``class``, ``label``, ``score``,
        ``box`` (x1, y1, x2, y2 in px) and, where it finds masks, ``mask`` (COCO's run lengths); of a segmentor
        ``classes``, the share of the pixels of each, and ``map``, its file. Of an image that cannot be read, ``error``.

    Raises:
        FileNotFoundError: If there is no such training, or no such image.
        ValueError: If there are no images, the network makes no label maps to write, or no detections.
    """
    files = list_images(images)
    trained = load_trained(folder if isinstance(folder, FoundRun) else find_run(folder), device)
    scope = trained.cfg.default_scope
    if maps is not None and scope != 'mmseg':
        raise ValueError(f'--maps needs a segmentor, but the network is a {type(trained.model).__name__} of {scope}')
    if score is not None and scope != 'mmdet':
        raise ValueError(f'--score needs a detector, but the network is a {type(trained.model).__name__} of {scope}')
    score = SCORE if score is None else score
    load, pipeline = _pipeline(trained)
    names = _target_names(files)
    painter = None if draw is None else _painter(trained)
    rows, batch = [], []

    def flush() -> None:
        with torch.no_grad():
            inputs, samples = ([data[key] for _, data, _ in batch] for key in ('inputs', 'data_samples'))
            if scope == 'mmpretrain':
                inputs = default_collate(inputs)  # of images, or of views that the pipeline makes
            found = trained.model.test_step(dict(inputs=inputs, data_samples=samples)) if batch else []
        for (row, _, image), sample in zip(batch, found, strict=True):
            name = names[row['image']]
            row.update(_DESCRIBE[scope](sample, trained.classes, score))
            if maps is not None:
                row['map'] = _write_map(sample, _target(maps, name))
            if painter is not None:
                row['drawn'] = str(_target(draw, name))
                painter(image, sample, score, row['drawn'])
        batch.clear()

    for file in progress(files):
        row = dict(image=str(file))
        rows.append(row)
        try:
            results = load(file)
            image = results['img'][..., ::-1] if painter is not None else None
            data = pipeline(results)
        except Exception as error:  # whatever a decoder may raise
            row['error'] = f'cannot be read: {_one_line(error)}'
            continue
        # Detectors and segmentors take images one by one, classifiers those of one size together.
        if batch and (scope != 'mmpretrain' or _size(data) != _size(batch[0][1])):
            flush()
        batch.append((row, data, image))
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    return rows


def list_images(images: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """List images.

    Args:
        images (str | os.PathLike | Sequence): Files; folders, which are searched for :data:`SUFFIXES`, their
            subfolders too, but for hidden ones; or patterns of :mod:`glob`, where ``**`` stands for any folders.

    Returns:
        list[Path]: The files in the order given, those of a folder by name, each once.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If nothing is found.
    """
    asked = [images] if isinstance(images, str | os.PathLike) else list(images)
    files = []
    for one in asked:
        path = Path(one).expanduser()
        if path.is_dir():
            files += _search(path)
        elif path.exists():
            files.append(path)
        elif matches := sorted(glob.glob(str(path), recursive=True)):
            for match in map(Path, matches):
                files += _search(match) if match.is_dir() else [match]
        else:
            raise FileNotFoundError(f'IMAGES must be files, folders or patterns, but {one} is none: nothing is there')
    files = list(dict.fromkeys(files))
    if not files:
        raise ValueError(
            f'IMAGES must hold an image ({", ".join(SUFFIXES)}), but found none in {", ".join(map(str, asked))}'
        )
    return files


def _search(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith('.') for part in path.relative_to(folder).parts)
    )


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:160] or type(error).__name__


# ---------------------------------------------------------------------- images in


def _pipeline(trained: Trained) -> tuple[Callable[[Path], dict], Callable[[dict], dict]]:
    """Return what reads an image as the test data is read, and what is done to it then."""
    loader = trained.cfg.get('test_dataloader') or trained.cfg.get('val_dataloader')
    if not loader:
        raise ValueError(f'{trained.cfg.filename} must have a test_dataloader, which tells how images are prepared')
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    steps = [step for step in dataset.pipeline if 'Annotations' not in str(step['type'])]
    if 'Load' in str(steps[0]['type']):
        first, *rest = steps
    else:  # of a data set that is in memory, such as CIFAR-100, in the order of channels that the model wants
        first = dict(type='LoadImageFromFile')
        rest = steps if trained.model.data_preprocessor.to_rgb else [_swap_channels, *steps]
    read = TRANSFORMS.build(first)

    def load(path: Path) -> dict:
        meta = dict(img_path=str(path), img_id=0)
        try:
            results = read(dict(meta))
        except Exception as error:
            results = _read_with_pillow(meta, error)
        if results is None or results.get('img') is None:
            results = _read_with_pillow(meta, ValueError('no image'))
        return results

    return load, Compose(rest)


def _swap_channels(results: dict) -> dict:
    return dict(results, img=np.ascontiguousarray(results['img'][..., ::-1]))


def _size(data: dict) -> torch.Size:
    """Return the size of the image that was packed, or of its visible view."""
    return getattr(data['inputs'], 'visible', data['inputs']).shape


def _read_with_pillow(meta: dict, error: Exception) -> dict:
    """Read what OpenCV does not know, such as some GIF and TIFF files, or raise its error."""
    try:
        with Image.open(meta['img_path']) as image:
            array = np.asarray(image.convert('RGB'))[..., ::-1].copy()
    except Exception:
        raise error from None
    return dict(meta, img=array, img_shape=array.shape[:2], ori_shape=array.shape[:2])


# ---------------------------------------------------------------------- predictions out


def _name(classes: Sequence[str] | None, label: int) -> str:
    return classes[label] if classes is not None and label < len(classes) else str(label)


def _describe_class(sample, classes: Sequence[str] | None, score: float) -> dict:
    scores = sample.pred_score.float()
    best = scores.topk(min(5, len(scores)))
    top = [
        {'class': _name(classes, label), 'label': label, 'score': round(value, 6)}
        for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    return dict(top[0], top=top)


def _describe_objects(sample, classes: Sequence[str] | None, score: float) -> dict:
    found = sample.pred_instances
    found = found[found.scores >= score].cpu().numpy()
    objects = [
        {
            'class': _name(classes, int(label)),
            'label': int(label),
            'score': round(float(value), 6),
            'box': [round(float(side), 2) for side in box],
        }
        for label, value, box in zip(found.labels, found.scores, found.bboxes, strict=True)
    ]
    if 'masks' in found and objects:
        from mmdet.structures.mask import encode_mask_results

        for row, mask in zip(objects, encode_mask_results(found.masks), strict=True):
            counts = mask['counts']
            row['mask'] = dict(size=list(mask['size']), counts=counts.decode() if isinstance(counts, bytes) else counts)
    return dict(objects=objects)


def _describe_map(sample, classes: Sequence[str] | None, score: float) -> dict:
    labels = sample.pred_sem_seg.data
    counts = labels.flatten().bincount().tolist()
    shares = {_name(classes, label): round(count / labels.numel(), 6) for label, count in enumerate(counts) if count}
    return dict(classes=dict(sorted(shares.items(), key=lambda item: -item[1])))


_DESCRIBE = {'mmpretrain': _describe_class, 'mmdet': _describe_objects, 'mmseg': _describe_map}


def _target_names(files: Sequence[Path]) -> dict[str, Path]:
    """Name the PNG file of each image: as the image lies below what all of them lie in; no two are alike."""
    paths = [Path(os.path.abspath(file)) for file in files]
    common = os.path.commonpath([path.parent for path in paths])
    names = [path.relative_to(common) for path in paths]
    short = [name.with_suffix('.png') for name in names]
    many = {name for name in short if short.count(name) > 1} if len(set(short)) < len(short) else set()
    return {
        str(file): name.with_name(f'{name.name}.png') if brief in many else brief
        for file, name, brief in zip(files, names, short, strict=True)
    }


def _target(folder: str | os.PathLike, name: Path) -> Path:
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_map(sample, path: Path) -> str:
    labels = sample.pred_sem_seg.data[0].cpu().numpy()
    Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
    return str(path)


def _painter(trained: Trained) -> Callable:
    """Return what draws a prediction on an RGB image and writes it."""
    scope = trained.cfg.default_scope
    kind = dict(trained.cfg.get('visualizer') or {}).get('type')
    default = {'mmpretrain': 'UniversalVisualizer', 'mmdet': 'DetLocalVisualizer', 'mmseg': 'SegLocalVisualizer'}
    cfg = dict(type=kind or default[scope], name=f'predict {id(trained)}', vis_backends=None)
    visualizer = VISUALIZERS.build(cfg)
    numbers = [getattr(module, 'num_classes', None) for module in trained.model.modules()]
    count = max((number for number in numbers if isinstance(number, int)), default=1)
    classes = trained.classes or [str(label) for label in range(count)]
    palette = trained.palette or np.random.RandomState(0).randint(256, size=(len(classes), 3))
    palette = [tuple(map(int, color)) for color in palette]
    visualizer.dataset_meta = dict(classes=classes, palette=palette)

    def paint(image: np.ndarray, sample, score: float, path: str) -> None:
        image = np.ascontiguousarray(image).astype(np.uint8)
        if scope == 'mmpretrain':
            scale = max(1, round(224 / min(image.shape[:2])))
            visualizer.visualize_cls(image, sample, classes, draw_gt=False, rescale_factor=scale, out_file=path)
            return
        limit = dict(pred_score_thr=score) if scope == 'mmdet' else {}
        visualizer.add_datasample('prediction', image, sample.cpu(), draw_gt=False, out_file=path, **limit)

    return paint


# ---------------------------------------------------------------------- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('dir', metavar='DIR', help='folder of a training, or one of its checkpoints')
    parser.add_argument('images', metavar='IMAGES', nargs='+', help='files, folders or patterns')
    parser.add_argument('--json', metavar='FILE', help='write all that was predicted; - is the screen')
    parser.add_argument('--csv', metavar='FILE', help='write one row an image, object or class; - is the screen')
    parser.add_argument('--draw', metavar='FOLDER', help='draw the predictions')
    parser.add_argument('--maps', metavar='FOLDER', help='write the label maps of a segmentor, as PNG')
    parser.add_argument('--score', type=float, help=f'least score of a detection (default: {SCORE})')
    parser.add_argument('--device', help='where to run (default: the first GPU, if any)')


def main(args: argparse.Namespace) -> int:
    """Predict, write what is asked for, and return the exit code: 2 where no image could be read."""
    if args.score is not None and not 0 <= args.score <= 1:
        raise ValueError(f'--score must be in [0, 1], but got {args.score}')
    if args.json == args.csv == '-':
        raise ValueError('one of --json and --csv may be the screen (-), but both are')
    for name in (args.json, args.csv):
        if name not in (None, '-') and not Path(name).resolve().parent.is_dir():
            raise FileNotFoundError(f'{name} must lie in a folder that exists')
    warnings.simplefilter('ignore')
    log = Console(stderr=True, highlight=False)
    run = find_run(args.dir)
    for note in run.notes:
        log.print(note, markup=False, soft_wrap=True)
    log.print(f'network: {run.checkpoint}', markup=False, soft_wrap=True)

    def bar(files: Sequence) -> Iterator:
        return track(files, 'predicting', console=log, transient=True, disable=not log.is_terminal)

    with quietly():
        rows = predict(run, args.images, args.score, args.draw, args.maps, args.device, bar)
    for name, write in ((args.json, _write_json), (args.csv, _write_csv)):
        if name == '-':
            write(rows, sys.stdout)
        elif name is not None:
            with open(name, 'w', encoding='utf-8', newline='') as file:
                write(rows, file)
    if '-' not in (args.json, args.csv):
        _show(rows)
    unread = [row for row in rows if 'error' in row]
    for row in unread[:5]:
        log.print(f'{row["image"]} {row["error"]}', markup=False, soft_wrap=True)
    if unread:
        log.print(f'{len(unread)} of {len(rows)} images could not be read', markup=False)
    return 2 if len(unread) == len(rows) else 0


def _write_json(rows: Sequence[dict], file) -> None:
    json.dump(rows, file, indent=1, ensure_ascii=False)
    file.write('\n')


#: Of a detector's, a segmentor's and a classifier's rows.
_COLUMNS = {
    'objects': ('class', 'label', 'score', 'x1', 'y1', 'x2', 'y2'),
    'classes': ('class', 'share'),
    'class': ('class', 'label', 'score'),
}


def _write_csv(rows: Sequence[dict], file) -> None:
    known = {key for row in rows for key in row}
    kind = 'objects' if 'objects' in known else 'classes' if 'classes' in known else 'class'
    files = [key for key in ('map', 'drawn') if key in known]
    writer = csv.DictWriter(file, ['image', *_COLUMNS[kind], *files, 'error'])
    writer.writeheader()
    writer.writerows(cells for row in rows for cells in _flat(row))


def _flat(row: dict) -> list[dict]:
    """Write what was predicted of an image as rows of plain values; one without detections keeps a row."""
    image = {key: row[key] for key in ('image', 'map', 'drawn', 'error') if key in row}
    if 'objects' in row:
        corners = _COLUMNS['objects'][3:]
        found = [
            {key: one[key] for key in ('class', 'label', 'score')} | dict(zip(corners, one['box'], strict=True))
            for one in row['objects']
        ]
        return [{**image, **one} for one in found or [{}]]
    if 'classes' in row:
        return [{**image, 'class': name, 'share': share} for name, share in row['classes'].items()]
    return [image | {key: row[key] for key in ('class', 'label', 'score') if key in row}]


def _show(rows: Sequence[dict]) -> None:
    """Print a table of the first images; what is piped has a line of each, its path, a tab and what was predicted."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in rows:
            print(row['image'], _sentence(row), sep='\t')
        return
    table = Table(box=None, pad_edge=False)
    table.add_column('image', overflow='fold')
    table.add_column('prediction', overflow='fold')
    for row in rows[:ROWS]:
        table.add_row(escape(row['image']), escape(_sentence(row)))
    console.print(table)
    if len(rows) > ROWS:
        console.print(f'... and {len(rows) - ROWS} more: --csv or --json writes them all')


def _sentence(row: dict) -> str:
    if 'error' in row:
        return 'could not be read'
    if 'objects' in row:
        return ', '.join(f'{one["class"]} {one["score"]:.2f}' for one in row['objects']) or 'nothing'
    if 'classes' in row:
        return ', '.join(f'{name} {share:.0%}' for name, share in row['classes'].items())
    return f'{row["class"]} {row["score"]:.2f}'
