# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw what MixMask and Un-Mix make of a config's own images.

    python tools/visualization/mixmask_sheet.py CONFIG --out work_dirs/mixmask_sheet

One row for each image, as the training sees it: the view, its partner, the mask, the mixed view, and lambda, the share
that is left of the image; below each other for each way of mixing that the config has. It is written as
``mixmask_sheet.png`` and ``mixmask_sheet.svg``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, init_default_scope
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.engine.checks.config import read_config
from mmmaskany.engine.launch import check_files
from mmmaskany.engine.seeding.seeds import seed_all
from mmmaskany.user_errors import run
from mmmaskany.visualization import draw_panel, pixels, save_figure

HEADS = ('view', 'partner', 'mask\nwhite: the partner', 'mixed view')


def load_views(cfg: Config, count: int) -> tuple[Tensor, nn.Module]:
    """Load the first view of images of a config, evenly spread over its training data, as the model sees them.

    Args:
        cfg (Config): The config.
        count (int): Number of images.

    Returns:
        tuple[Tensor, nn.Module]: Normalised views ``(count, C, H, W)`` and the data preprocessor.
    """
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    preprocessor = MODELS.build(cfg.data_preprocessor)
    collate = FUNCTIONS.get(cfg.train_dataloader.collate_fn.type)
    picks = torch.linspace(0, len(dataset) - 1, count + 2)[1:-1].long().tolist()
    return preprocessor(collate([dataset[index] for index in picks]))['inputs'][0], preprocessor


def sheet(views: Tensor, mixings: list, preprocessor: nn.Module) -> Figure:
    """Draw the sheet.

    Args:
        views (Tensor): Normalised views ``(B, C, H, W)``.
        mixings (list): The ways of mixing, each a ``NeighbourMix``.
        preprocessor (nn.Module): Has the mean and std that the views were normalised with.

    Returns:
        Figure: One row for each view and way of mixing.
    """
    count, _, height, width = views.shape
    rows = count * len(mixings)
    figure = Figure(figsize=(1.5 + 1.35 * len(HEADS), 0.6 + 1.35 * rows * height / width), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, len(HEADS), squeeze=False)
    for number, mixing in enumerate(mixings):
        mixed = mixing.mix(views)
        mask = mixed.mask[:, :1].float().permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
        shown = (views, mixing.partner.content(views), None, mixed.images)
        panels = [mask if part is None else pixels(part, preprocessor) for part in shown]
        for index in range(count):
            line = axes[number * count + index]
            for axis, panel in zip(line, panels, strict=True):
                draw_panel(axis, panel[index].numpy(), height, width)
            label = f'{type(mixing).__name__}\n$\\lambda$ = {mixed.kept[index]:.3f}'
            line[0].set_ylabel(label, rotation=0, ha='right', va='center', fontsize=9, labelpad=6)
    for axis, head in zip(axes[0], HEADS, strict=True):
        axis.set_title(head, fontsize=9)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Draw the sheet of one config and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='pre-training config whose mixing and data are shown')
    parser.add_argument('--out', type=Path, help='folder to write to (default: work_dirs/CONFIG)')
    parser.add_argument('--num-images', type=int, default=5, help='images, at least 2 (default: 5)')
    parser.add_argument('--seed', type=int, default=0, help='seed of views and masks (default: 0)')
    args = parser.parse_args(argv)
    if args.num_images < 2:
        parser.error(f'--num-images must be at least 2, for each has a partner, but got {args.num_images}')
    try:
        cfg = read_config(args.config)
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        if not cfg.model.get('mixing'):
            raise ValueError(f'{args.config} must be a config of MixMask, with `model.mixing`, but has none')
        cfg.work_dir = str(args.out or Path('work_dirs', Path(args.config).stem))
        check_files(cfg, ['train'], Path(__file__).resolve().parents[1] / 'dataset_converters')
        from mmmaskany.models.selfsup.mix_mask import build_mixing

        mixings = build_mixing(cfg.model.mixing)
        seed_all(args.seed)
        views, preprocessor = load_views(cfg, args.num_images)
        files = save_figure(sheet(views, mixings, preprocessor), Path(cfg.work_dir, 'mixmask_sheet'))
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print('\n'.join(f'wrote {file}' for file in files))
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
