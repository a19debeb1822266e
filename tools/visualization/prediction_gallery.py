# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw a sheet of what a detector or segmentor finds: images, ground truth and prediction, one below the other.

    python tools/visualization/prediction_gallery.py CONFIG CHECKPOINT --out work_dirs/predictions.png

The images are spread evenly over the test data and drawn by the library's own visualizer, small ones enlarged. Pictures
of whole data sets, and of classification, are made by `tools/test.py --show-dir`.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, VISUALIZERS, init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany.checkpoints.protection import protect
from mmmaskany.engine.checks.config import read_config
from mmmaskany.user_errors import run

ROWS = ('image', 'ground truth', 'prediction')
SIDE = 480  # px: smaller images are enlarged to about this, and a panel has as many


def predict(cfg: Config, checkpoint: str, count: int) -> list[BaseDataElement]:
    """Let a model predict a few images of its test data, evenly spread.

    Args:
        cfg (Config): The config.
        checkpoint (str): The checkpoint.
        count (int): Number of images.

    Returns:
        list[BaseDataElement]: The library's data samples, with ground truth and predictions.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build(cfg.model)
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    model.eval()
    picks = torch.linspace(0, len(dataset) - 1, count + 2)[1:-1].long().tolist()
    with torch.no_grad():
        results = [model.test_step(pseudo_collate([dataset[index]]))[0] for index in picks]
    for result in results:
        result.set_metainfo(dict(dataset_meta=dataset.metainfo))
    return results


def enlarge(sample: BaseDataElement, times: int) -> BaseDataElement:
    """Enlarge boxes, masks and label maps of a data sample, so that the library draws fine lines and readable text.

    Args:
        sample (BaseDataElement): The data sample.
        times (int): How many times.

    Returns:
        BaseDataElement: A new data sample.
    """
    large = copy.deepcopy(sample)  # clone() would share the instances
    for name in ('gt_instances', 'pred_instances'):
        instances = large.get(name)
        if instances is None:
            continue
        instances.bboxes = instances.bboxes * times
        if isinstance(instances.get('masks'), Tensor):
            instances.masks = repeat(instances.masks, times)
        elif 'masks' in instances:
            masks = instances.masks
            instances.masks = masks.resize((masks.height * times, masks.width * times))
    for name in ('gt_sem_seg', 'pred_sem_seg'):
        if name in large:
            large.set_field(type(large.get(name))(data=repeat(large.get(name).data, times)), name)
    return large


def repeat(maps: Tensor, times: int) -> Tensor:
    """Enlarge maps ``(N, H, W)`` by whole pixels."""
    return maps.repeat_interleave(times, -1).repeat_interleave(times, -2)


def panels(sample: BaseDataElement, visualizer: Visualizer, score: float) -> list[np.ndarray]:
    """Draw the column of one image.

    Args:
        sample (BaseDataElement): Its data sample.
        visualizer (Visualizer): That of the library.
        score (float): Detections below it are left out.

    Returns:
        list[np.ndarray]: One RGB picture for each of :data:`ROWS`.
    """
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    times = max(1, round(SIDE / max(image.shape[:2])))
    large, enlarged = image.repeat(times, 0).repeat(times, 1), enlarge(sample, times)
    visualizer.dataset_meta = sample.dataset_meta
    limit = dict(pred_score_thr=score) if 'pred_instances' in sample else {}
    pictures = [large]
    for kind in ('gt', 'pred'):
        chosen = dict(draw_gt=kind == 'gt', draw_pred=kind == 'pred', **limit)
        visualizer.add_datasample('gallery', large, enlarged, **chosen)
        pictures.append(visualizer.get_image())
    return pictures


def sheet(columns: list[list[np.ndarray]]) -> plt.Figure:
    """Lay out the sheet.

    Args:
        columns (list[list[np.ndarray]]): For each image one picture for each of :data:`ROWS`.

    Returns:
        plt.Figure: The sheet.
    """
    figure, axes = plt.subplots(len(ROWS), len(columns), figsize=(3 * len(columns), 9), squeeze=False)
    for column, pictures in enumerate(columns):
        for row, picture in enumerate(pictures):
            axes[row, column].imshow(picture)
            axes[row, column].set(xticks=[], yticks=[])
    for row, title in enumerate(ROWS):
        axes[row, 0].set_ylabel(title, fontsize=12)
    figure.tight_layout(pad=0.4)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Draw the sheet and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a detector (mmdet) or segmentor (mmseg)')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', type=Path, help='PNG to write (default: work_dirs/<config>/predictions.png)')
    parser.add_argument('--num-images', type=int, default=6, help='images on the sheet (default: 6)')
    parser.add_argument('--score', type=float, default=0.5, help='leave out detections below this score (default: 0.5)')
    args = parser.parse_args(argv)
    cfg = read_config(args.config)
    if cfg.default_scope not in ('mmdet', 'mmseg'):
        print(f'error: the config must be one of mmdet or mmseg, but is one of {cfg.default_scope}', file=sys.stderr)
        return 2
    init_default_scope(cfg.default_scope)
    protect()  # the plain network of a comparison has no type of ours that would do it
    try:
        samples = predict(cfg, args.checkpoint, args.num_images)
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    out = args.out or Path('work_dirs', Path(args.config).stem, 'predictions.png')
    out.parent.mkdir(parents=True, exist_ok=True)
    visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None, name='gallery', alpha=0.5))
    sheet([panels(sample, visualizer, args.score) for sample in samples]).savefig(out, dpi=SIDE / 3)
    print(f'wrote {out}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
