# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure what the checks of data cost: at the start of a run, and while samples are loaded.

    python tools/analysis_tools/benchmark_checks.py start
    python tools/analysis_tools/benchmark_checks.py loading

``start`` writes a detection set of COCO's size, 118,000 images and 860,000 annotations, and starts a training of a
small Mask R-CNN on it in fresh processes, in turn by MMEngine's Runner alone, as the libraries do, and by
``tools/train.py`` with all checks. Each process ends where its first step would begin, and says what processor time it
took until then; the JSON is parsed in that time by both. The images are 64 x 48 px, so that the disk stays small.

``loading`` compares what is looked at for each sample, its size and its label map, with a step of a small detector and
a small segmentor on the CPU, loading included. Each is timed alone, in turn, and the share is that of a step.

Reported are medians of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a checkout needs no install
from mmmaskany.user_errors import run  # noqa: E402

CLASSES = tuple(f'class{index}' for index in range(80))
SIZE = 64, 48  # px, width and height of an image
DETECTOR = ROOT / 'configs/detection/mask-rcnn_maskany-r18-narrow-scratch_fpn_8e_digits.py'
SEGMENTOR = ROOT / 'configs/segmentation/maskany-r18-narrow-scratch_sem-fpn_1xb8-300_digits-96x96.py'

# ---------------------------------------------------------------------- the start of a run


def write_coco(folder: Path, split: str, images: int, annotations: int, points: int = 20) -> None:
    """Write a set in the format of COCO, with a polygon for each object.

    Args:
        folder (Path): Its root.
        split (str): Its name.
        images (int): How many images it has.
        annotations (int): How many objects.
        points (int): How many points a polygon has. Defaults to 20, about as many as in COCO.
    """
    generator = np.random.default_rng(len(split))
    (folder / split).mkdir(parents=True)
    for index in range(images):
        image = np.full((*SIZE[::-1], 3), generator.integers(0, 256, 3), np.uint8)
        cv2.imwrite(str(folder / split / f'{index:012d}.jpg'), image)
    images_of = ','.join(
        f'{{"id":{index},"file_name":"{index:012d}.jpg","width":{SIZE[0]},"height":{SIZE[1]}}}'
        for index in range(images)
    )
    categories = [dict(id=index + 1, name=name, supercategory='thing') for index, name in enumerate(CLASSES)]
    with open(folder / f'{split}.json', 'w', encoding='utf-8') as file:
        file.write(f'{{"images":[{images_of}],"categories":{json.dumps(categories)},"annotations":[')
        for index in range(annotations):
            w, h = (generator.random(2) * 30 + 2).round(2)
            x, y = (generator.random(2) * (SIZE[0] - w, SIZE[1] - h)).round(2)
            polygon = (generator.random((points, 2)) * (w, h) + (x, y)).round(2)
            polygon[:2] = (x, y), (x + w, y + h)
            item = dict(
                id=index + 1,
                image_id=index % images,
                category_id=index % len(CLASSES) + 1,
                iscrowd=0,
                bbox=[x.item(), y.item(), w.item(), h.item()],
                area=(w * h / 2).item(),
                segmentation=[polygon.ravel().round(2).tolist()],
            )
            file.write((',' if index else '') + json.dumps(item))
        file.write(']}')


def write_config(folder: Path) -> Path:
    """Write the config of a training on such sets.

    Args:
        folder (Path): Where they lie.

    Returns:
        Path: The config.
    """
    path = folder / 'config.py'
    path.write_text(f"""\
_base_ = {str(DETECTOR)!r}
data = dict(data_root={str(folder)!r}, metainfo=dict(classes={CLASSES!r}))
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(ann_file='train.json', data_prefix=dict(img='train'), **data)
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(ann_file='val.json', data_prefix=dict(img='val'), **data)
)
val_evaluator = dict(ann_file={str(folder / 'val.json')!r})
test_dataloader, test_evaluator = None, None
test_cfg = None
model = dict(roi_head=dict(bbox_head=dict(num_classes=80), mask_head=dict(num_classes=80)))
work_dir = {str(folder / 'run')!r}
""")
    return path


def start(config: str, checked: bool) -> None:
    """Start a training in this process, and end where its first step would begin.

    Args:
        config (str): The config.
        checked (bool): Whether ``tools/train.py`` starts it, or MMEngine's Runner alone.
    """
    from mmengine.runner.loops import EpochBasedTrainLoop

    def stop(loop, index, batch) -> None:
        print(f'seconds: {time.process_time()}', flush=True)
        os._exit(0)

    EpochBasedTrainLoop.run_iter = stop
    if checked:
        import runpy

        runpy.run_path(str(ROOT / 'tools/train.py'))['main']([config])
    else:
        from mmengine.config import Config
        from mmengine.runner import Runner

        Runner.from_cfg(Config.fromfile(config)).train()


def compare_starts(images: int, annotations: int, repeats: int) -> None:
    """Print what both starts cost, in processor time."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_coco(folder, 'train', images, annotations)
        write_coco(folder, 'val', max(1, images // 24), max(1, annotations // 24))  # as many as COCO has
        config = write_config(folder)
        times: dict[str, list[float]] = {'bare': [], 'checked': []}
        for _ in range(repeats):
            for side, found in times.items():
                command = [sys.executable, __file__, 'start', '--side', side, '--config', config]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
                line = next((line for line in done.stdout.splitlines() if line.startswith('seconds: ')), None)
                if line is None:
                    raise RuntimeError(f'the {side} start failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}')
                found.append(float(line.partition(' ')[2]))
    print(f'{images} images, {annotations} annotations, {repeats} pairs of starts')
    for side, title in (('bare', "MMEngine's Runner"), ('checked', 'tools/train.py')):
        print(f'{title:18} {statistics.median(times[side]):6.1f} s ({min(times[side]):.1f} .. {max(times[side]):.1f})')
    more = [checked - bare for bare, checked in zip(times['bare'], times['checked'], strict=True)]
    print(f'{"more":18} {statistics.median(more):6.1f} s ({min(more):.1f} .. {max(more):.1f})')


# ---------------------------------------------------------------------- while samples are loaded


def median_time(call: Callable[[], object], repeats: int, number: int) -> float:
    """Return the median processor time of a call, in seconds."""
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        for _ in range(number):
            call()
        found.append((time.process_time() - begin) / number)
    return statistics.median(found)


def compare_loading(repeats: int) -> None:
    """Print what is looked at for each sample, against a step of a small detector and of a small segmentor."""
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import DATASETS, FUNCTIONS, MODELS, init_default_scope

    from mmmaskany.datasets.label_map import check_label_map
    from mmmaskany.datasets.loaded_size import check_loaded_size

    torch.set_num_threads(1)
    print(f'{"":10}{"step, ms":>10}{"looked at, us":>15}{"share, %":>10}')
    for name, config in (('detector', DETECTOR), ('segmentor', SEGMENTOR)):
        with tempfile.TemporaryDirectory() as folder:
            cfg = Config.fromfile(config)
            init_default_scope(cfg.default_scope)
            data, size = _write_scenes(Path(folder), cfg), cfg.train_dataloader.batch_size
            dataset, model = DATASETS.build(data), MODELS.build(cfg.model)
            collate = FUNCTIONS.get('pseudo_collate')
            optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
            model.train()

            def step(model=model, dataset=dataset, optimizer=optimizer, size=size, collate=collate) -> None:
                model.train_step(collate([dataset[index] for index in range(size)]), optimizer)

            loaded = dataset.get_data_info(0)
            for transform in dataset.pipeline.transforms[:2]:
                loaded = transform(loaded)

            def looked_at(loaded=loaded) -> None:
                check_loaded_size(loaded)

            def looked_at_map(loaded=loaded, dataset=dataset) -> None:
                check_loaded_size(loaded)
                check_label_map(loaded['gt_seg_map'], len(dataset.metainfo['classes']), 255, True, '')

            step()
            seconds = median_time(step, repeats, 1)
            look = median_time(looked_at_map if 'gt_seg_map' in loaded else looked_at, repeats, 1000) * size
        print(f'{name:10}{seconds * 1e3:10.1f}{look * 1e6:15.1f}{100 * look / seconds:10.3f}')


def _write_scenes(folder: Path, cfg) -> dict:
    """Write a few scenes that look as those of a config, and return the config of their dataset."""
    generator, count = np.random.default_rng(0), cfg.train_dataloader.batch_size
    data = cfg.train_dataloader.dataset
    while 'dataset' in data:
        data = data.dataset
    for index in range(count):
        cv2.imwrite(str(folder / f'{index}.jpg'), generator.integers(0, 256, (104, 104, 3), dtype=np.uint8))
        cv2.imwrite(str(folder / f'{index}.png'), generator.integers(0, 12, (104, 104), dtype=np.uint8))
    images = [dict(id=index, file_name=f'{index}.jpg', width=104, height=104) for index in range(count)]
    boxes = [[int(x), int(y), 30, 30] for x, y in generator.integers(0, 70, (4 * count, 2))]
    annotations = [
        dict(
            id=index + 1,
            image_id=index % count,
            category_id=index % 10,
            bbox=[x, y, w, h],
            area=w * h,
            iscrowd=0,
            segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
        )
        for index, (x, y, w, h) in enumerate(boxes)
    ]
    categories = [dict(id=index, name=str(index)) for index in range(10)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'scenes.json').write_text(json.dumps(content))
    data.data_root = str(folder)
    if cfg.default_scope == 'mmdet':
        data.update(ann_file='scenes.json', data_prefix=dict(img=''))
    else:
        data.data_prefix = dict(img_path='', seg_map_path='')
    return data


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('part', choices=['start', 'loading'], help='what is measured')
    parser.add_argument('--images', type=int, default=118_000, help='training images (default: 118000)')
    parser.add_argument('--annotations', type=int, default=860_000, help='their objects (default: 860000)')
    parser.add_argument('--repeats', type=int, default=3, help='pairs of measurements (default: 3)')
    parser.add_argument('--side', choices=['bare', 'checked'], help=argparse.SUPPRESS)  # of a process that is measured
    parser.add_argument('--config', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        start(args.config, args.side == 'checked')
    elif args.part == 'start':
        compare_starts(args.images, args.annotations, args.repeats)
    else:
        compare_loading(args.repeats)


if __name__ == '__main__':
    sys.exit(run(main))
