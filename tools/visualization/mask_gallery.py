# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw a sheet of what a config's masking does to its own images.

    python tools/visualization/mask_gallery.py CONFIG --out work_dirs/mask_gallery.png

One row for each pattern, the config's own with its own parameters and the others with similar ones; then the
config's mixture, and what an unmasked sample and an image at test time look like. In each row, for several images:
the image, the mask, the visible and the reused view.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, init_default_scope
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.visualization import draw_panel, pixels

#: The patterns, noise once for each color, which is green where a config does not say.
PATTERNS = (
    *(dict(type=f'mmmaskany.{name}Pattern') for name in ('Patch', 'Grid', 'Random', 'Block')),
    *(dict(type='mmmaskany.NoisePattern', color=color) for color in ('red', 'blue', 'green', 'purple')),
)
HEADS = ('image', 'mask', 'visible', 'reused')
MASKED = (0.93, 0.49, 0.13)  # orange


def config_masking(cfg: Config) -> dict:
    """Find the masking of a config, in the model or in the data pipeline.

    Args:
        cfg (Config): The config.

    Returns:
        dict: ``pattern``, ``fill`` in units of the normalised image, and ``reuse``.

    Raises:
        ValueError: If the config masks nothing.
    """
    masking = cfg.model.backbone.get('masking')
    if masking:
        return dict(reuse=True, fill=None) | masking
    for step in cfg.get('train_pipeline', ()):
        if step['type'] == 'mmmaskany.MaskRegions':
            mean, std = cfg.data_preprocessor.mean, cfg.data_preprocessor.std
            fill = step.get('fill', 0)
            fill = list(fill) if isinstance(fill, (list, tuple)) else [fill] * len(mean)
            value = [(f - m) / s for f, m, s in zip(fill, mean, std, strict=True)]
            fill = dict(type='mmmaskany.ConstantFill', value=value)
            return dict(pattern=step['pattern'], fill=fill, reuse=step.get('reuse', True))
    raise ValueError(
        f'{cfg.filename} must mask something, in model.backbone.masking or with MaskRegions in its train_pipeline, '
        'but does neither: give the config of which it is the twin'
    )


def rows_of(masking: dict, side: int) -> list[tuple[str, dict | None]]:
    """List the rows of the sheet.

    Args:
        masking (dict): As of :func:`config_masking`.
        side (int): Shorter side of the images in pixels, for the cells of patterns that the config does not have.

    Returns:
        list[tuple[str, dict | None]]: Label and pattern; None for the row of unmasked samples.
    """
    pattern = masking['pattern']
    mixture = pattern['type'] == 'mmmaskany.MixturePattern'
    own, probs = (pattern['patterns'], pattern['probs']) if mixture else ([pattern], [1.0])
    share = {key: own[0][key] for key in ('scale', 'ratio', 'base') if key in own[0]}
    base = share.get('base', 4)
    cell = max(base, side // 8 // base * base)
    rows, masked = [], []
    for kind in PATTERNS:
        mine = [(cfg, prob) for cfg, prob in zip(own, probs, strict=True) if kind_of(cfg) == kind]
        for cfg, prob in mine:
            rows.append((f'{describe(cfg)}\np = {prob:g}', cfg))
            masked.append(f'{short(cfg)} {prob / sum(probs):.0%}')
        if not mine:
            cfg = dict(kind, **share)
            if kind['type'] != 'mmmaskany.PatchPattern':
                cfg['cell'] = cell
            rows.append((f'{describe(cfg)}\nnot in this config', cfg))
    if mixture and len(own) > 1:
        mixed = dict(pattern, probs=[prob / sum(probs) for prob in probs])
        rows.append(('mixture\n' + '\n'.join(masked), mixed))
    rows.append((f'unmasked\np = {1 - sum(probs):g}\nand at test time', None))
    return rows


def kind_of(cfg: dict) -> dict:
    """Tell which of :data:`PATTERNS` a pattern is."""
    color = dict(color=cfg.get('color', 'green')) if cfg['type'] == 'mmmaskany.NoisePattern' else {}
    return dict(type=cfg['type'], **color)


def short(cfg: dict) -> str:
    """Name a pattern: 'grid' for ``mmmaskany.GridPattern``, 'green noise' for a color of noise."""
    name = cfg['type'].removeprefix('mmmaskany.').removesuffix('Pattern').lower()
    return f'{kind_of(cfg)["color"]} {name}' if name == 'noise' else name


def describe(cfg: dict) -> str:
    """Name a pattern with its parameters, in two lines."""
    share = f'scale {cfg["scale"]:g}' if 'scale' in cfg else f'ratio {cfg["ratio"]:g}'
    cell = cfg.get('cell')
    sizes = '' if cell is None else f', {", ".join(map(str, cell if isinstance(cell, (list, tuple)) else [cell]))} px'
    return f'{short(cfg)}\n{share}{sizes}'


def load_images(cfg: Config, split: str, count: int) -> tuple[Tensor, torch.nn.Module]:
    """Load images of a config, evenly spread over the split, as the model sees them at test time.

    Args:
        cfg (Config): The config.
        split (str): 'train' or 'val'; both are read with the pipeline of ``val``.
        count (int): Number of images.

    Returns:
        tuple[Tensor, nn.Module]: Normalised images ``(count, C, H, W)`` and the data preprocessor.
    """
    dataset_cfg = dict(cfg[f'{split}_dataloader'].dataset, pipeline=cfg.val_dataloader.dataset.pipeline)
    dataset = DATASETS.build(dataset_cfg)
    preprocessor = MODELS.build(dict(dict(type='ClsDataPreprocessor'), **cfg.data_preprocessor))
    collate = FUNCTIONS.get(cfg.val_dataloader.collate_fn.type)
    picks = torch.linspace(0, len(dataset) - 1, count + 2)[1:-1].long().tolist()
    batch = collate([dataset[index] for index in picks])
    return preprocessor(batch)['inputs'], preprocessor


def sheet(images: Tensor, masking: dict, preprocessor: torch.nn.Module) -> plt.Figure:
    """Draw the sheet.

    Args:
        images (Tensor): Normalised images ``(B, C, H, W)``.
        masking (dict): As of :func:`config_masking`.
        preprocessor (nn.Module): Has the mean and std that the images were normalised with.

    Returns:
        plt.Figure: The sheet.
    """
    from mmmaskany.masking import half_size
    from mmmaskany.models.masking import build_masking

    height, width = images.shape[-2:]
    rows = rows_of(masking, min(height, width))
    # One group of panels per image, and a narrow empty column between the groups.
    columns = ([1.0] * len(HEADS) + [0.12]) * len(images)
    columns.pop()
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        figsize=(1.4 + 1.05 * sum(columns), 0.6 + 1.12 * len(rows) * height / width),
        width_ratios=columns,
        squeeze=False,
    )
    for line, (label, pattern) in enumerate(rows):
        if pattern is None:
            mask, visible, reused = torch.zeros(len(images), 1, height, width), images, half_size(images)
        else:
            views = build_masking(**dict(masking, pattern=pattern))(images)
            mask, visible, reused = views.draw.pixel_mask(height, width), views.visible, views.reused
        panels = [
            pixels(images, preprocessor),
            torch.where(mask.permute(0, 2, 3, 1).bool(), torch.tensor(MASKED), torch.ones(3)),
            pixels(visible, preprocessor),
            pixels(reused, preprocessor),
        ]
        for column, axis in enumerate(axes[line]):
            index, panel = divmod(column, len(HEADS) + 1)
            if panel == len(HEADS):
                axis.axis('off')
                continue
            draw_panel(axis, panels[panel][index].numpy(), height, width)
            if line == 0:
                axis.set_title(HEADS[panel], fontsize=9)
        axes[line, 0].set_ylabel(label, rotation=0, ha='right', va='center', fontsize=8, labelpad=8)
    lost = '' if masking['reuse'] else ' (reuse is off: the reused view is the visible image at half size)'
    figure.suptitle(
        'mask: orange = masked.   visible: masked cells are filled.   '
        f'reused: the masked cells, stitched together at half the side{lost}',
        fontsize=9,
        y=0.995,
    )
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.985))
    return figure


def main(argv: list[str] | None = None) -> int:
    """Draw the sheet of one config and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config whose masking and data are shown')
    parser.add_argument('--out', type=Path, help='PNG to write (default: work_dirs/<config>/mask_gallery.png)')
    parser.add_argument('--split', choices=('train', 'val'), default='val', help='which images (default: val)')
    parser.add_argument('--num-images', type=int, default=3, help='images per row (default: 3)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (default: 0)')
    args = parser.parse_args(argv)
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.default_scope)
    out = args.out or Path('work_dirs', Path(args.config).stem, 'mask_gallery.png')
    try:
        masking = config_masking(cfg)
        images, preprocessor = load_images(cfg, args.split, args.num_images)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    torch.manual_seed(args.seed)
    figure = sheet(images, masking, preprocessor)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
    print(f'wrote {out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
