# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw the pictures of docs/methods: for each method a photo, the mask, and what the network sees.

    python docs/figures/method_pictures.py            # all of them, to docs/methods/figures
    python docs/figures/method_pictures.py noise mae  # some

Everything that is shown was made by the classes that train, from photos that come with scikit-learn, normalised as
ImageNet's: masks by the patterns, and what the network sees by fills, sub-maskings, encoders and batch augments. The
same pictures come out every time.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.masking import (
    BlockPattern,
    ConstantFill,
    Fill,
    GridPattern,
    Masking,
    MeanFill,
    NoisePattern,
    PatchPattern,
    Pattern,
    RandomPattern,
    TokenFill,
)
from mmmaskany.masking.layers import MaskedLayers
from mmmaskany.user_errors import run
from mmmaskany.visualization import COLORS, credit, draw_panel, load_photo

OUT = Path(__file__).resolve().parents[2] / 'docs' / 'methods' / 'figures'
SIDE, PATCH = 224, 16  # px: of the photos, and of a ViT's patches
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
BLACK = ConstantFill((-MEAN / STD).flatten().tolist())
MASKED = torch.tensor([int(COLORS[1][i : i + 2], 16) / 255 for i in (1, 3, 5)])  # orange


class Sheet(NamedTuple):
    """A picture: titles of the columns, and rows of a label and panels, ``(h, w, 3)`` in [0, 1] or None.

    ``titles`` of some panels, by row and column, stand over them instead of the column's.
    """

    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Tensor | None]]]
    titles: dict[tuple[int, int], str] = {}
    photos: Sequence[str] = ('temple',)


# ---------------------------------------------------------------------- panels


def photo(name: str = 'temple') -> Tensor:
    """Load a photo as the network gets it, normalised, ``(1, 3, SIDE, SIDE)``."""
    return (load_photo(name, SIDE) - MEAN) / STD


def shown(image: Tensor) -> Tensor:
    """Turn a normalised image ``(3, h, w)`` into a panel."""
    return (image * STD + MEAN).clamp(0, 1).permute(1, 2, 0)


def shown_mask(mask: Tensor) -> Tensor:
    """Turn a mask ``(h, w)``, True = masked, into a panel."""
    return torch.where(mask[..., None], MASKED, torch.ones(3))


def drawn(pattern: Pattern, seed: int) -> Tensor:
    """Draw the mask of one photo, bool ``(SIDE, SIDE)``."""
    return pattern.draw(1, SIDE, SIDE, torch.Generator().manual_seed(seed)).pixel_mask(SIDE, SIDE)[0, 0]


def to_patches(image: Tensor) -> Tensor:
    """Cut an image ``(3, SIDE, SIDE)`` into a ViT's patches, ``(tokens, 3 * PATCH * PATCH)``."""
    cut = image.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)
    return cut.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)


def from_patches(tokens: Tensor) -> Tensor:
    """Put patches back together, row by row as wide as the photo, ``(3, h, SIDE)``."""
    cols = SIDE // PATCH
    return tokens.view(-1, cols, 3, PATCH, PATCH).permute(2, 0, 3, 1, 4).reshape(3, -1, cols * PATCH)


def kept_in_place(image: Tensor, mask: Tensor) -> Tensor:
    """Show an image ``(3, h, w)`` with what was dropped left white."""
    return torch.where(mask[..., None], torch.ones(()), shown(image))


# ---------------------------------------------------------------------- methods


def maskany() -> Sheet:
    """Each of MaskAny's patterns: the visible and the reused view."""
    image, rows = photo(), []
    patterns = {
        'patch\nscale 0.5': PatchPattern(scale=0.5),
        'grid\nscale 0.5, 16 px': GridPattern(scale=0.5, cell=16),
        'random\nscale 0.5, 28 px': RandomPattern(scale=0.5, cell=28),
    }
    for label, pattern in patterns.items():
        visible, reused, draw = Masking(pattern, BLACK)(image, generator=torch.Generator().manual_seed(3))
        mask = shown_mask(draw.pixel_mask(SIDE, SIDE)[0, 0])
        rows.append((label, [None if rows else shown(image[0]), mask, shown(visible[0]), shown(reused[0])]))
    return Sheet(('photo', 'mask', 'visible', 'reused'), rows)


def two_draws(fill: Fill, patterns: dict[str, Pattern]) -> Sheet:
    """Draw each pattern twice: masks and filled images."""
    image, rows = photo(), []
    for label, pattern in patterns.items():
        panels = [None if rows else shown(image[0])]
        for seed in (0, 1):
            mask = drawn(pattern, seed)
            panels += [shown_mask(mask), shown(fill(image, mask[None, None])[0].detach())]
        rows.append((label, panels))
    return Sheet(('photo', 'mask', 'the network sees', 'another mask', 'the network sees'), rows)


def cutout() -> Sheet:
    """One black rectangle."""
    return two_draws(
        BLACK,
        {'scale 0.5\na quarter': PatchPattern(scale=0.5), 'ratio 0.1\na tenth': PatchPattern(ratio=0.1)},
    )


def gridmask() -> Sheet:
    """Black cells at a regular distance."""
    return two_draws(
        BLACK,
        {
            'scale 0.5\ncell 16 px': GridPattern(scale=0.5, cell=16),
            'scale 0.5\ncell of 8, 16\nor 56 px, drawn': GridPattern(scale=0.5, cell=[8, 16, 56]),
        },
    )


def random_cells() -> Sheet:
    """Cells anywhere, with a learned colour in their place."""
    torch.manual_seed(0)
    return two_draws(
        TokenFill(),
        {
            'ratio 0.6\ncell 32 px': RandomPattern(ratio=0.6, cell=32),
            'scale 0.5\ncell 16 px': RandomPattern(scale=0.5, cell=16),
        },
    )


def blocks() -> Sheet:
    """Overlapping blocks, with the image's mean in their place."""
    return two_draws(
        MeanFill(),
        {
            'ratio 0.4\ncell 16 px': BlockPattern(ratio=0.4, cell=16),
            'scale 0.5\ncell 8 px': BlockPattern(scale=0.5, cell=8),
        },
    )


def noise() -> Sheet:
    """Filtered noise of four colours, and its highest cells."""
    image, rows = photo(), []
    for color in NoisePattern.sigmas:
        pattern = NoisePattern(ratio=0.5, cell=8, color=color)
        # The noise that the pattern ranks, drawn from the same seed as its mask.
        (layout,) = pattern.layouts(SIDE // pattern.base, SIDE // pattern.base)
        batch = type(layout)(*(torch.tensor([value]) for value in layout))
        values = -pattern.scores(batch, layout, torch.Generator().manual_seed(0))[0]
        values = (values - values.min()) / (values.max() - values.min())
        values = values.repeat_interleave(8, 0).repeat_interleave(8, 1)[..., None].expand(-1, -1, 3)
        mask = drawn(pattern, 0)
        panels = [None if rows else shown(image[0]), values, shown_mask(mask)]
        rows.append((f'{color}\nratio 0.5, 8 px', [*panels, shown(BLACK(image, mask[None, None])[0])]))
    return Sheet(('photo', 'noise', 'mask: its highest cells', 'the network sees'), rows)


def mae() -> Sheet:
    """The tokens that MAE's encoder gets."""
    from mmmaskany.models.selfsup import PatternMAEViT

    image, rows = photo(), []
    arch = dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)
    patterns = {
        'random\nratio 0.75': RandomPattern(ratio=0.75, cell=PATCH, base=PATCH),
        'green noise\nratio 0.75': NoisePattern(ratio=0.75, cell=PATCH, color='green', base=PATCH),
    }
    for label, pattern in patterns.items():
        encoder = PatternMAEViT(pattern, arch=arch, img_size=SIDE, patch_size=PATCH)
        visible, mask, _ = encoder.random_masking(to_patches(image[0])[None])
        side = SIDE // PATCH
        mask = mask.view(side, side).bool().repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
        panels = [None if rows else shown(image[0]), shown_mask(mask), kept_in_place(image[0], mask)]
        rows.append((label, [*panels, packed(visible[0])]))
    return Sheet(('photo', 'mask', 'visible tokens, in place', 'the encoder gets: 49 of 196'), rows)


def packed(tokens: Tensor) -> Tensor:
    """Show tokens side by side, in rows as wide as the photo; the last row may end early."""
    cols = SIDE // PATCH
    missing = -len(tokens) % cols
    panel = shown(from_patches(torch.cat([tokens, tokens.new_zeros(missing, tokens.shape[1])])))
    if missing:
        panel[-PATCH:, -missing * PATCH :] = 1
    return panel


def masksub() -> Sheet:
    """What the sub-branch of MaskSub sees in each of three ways."""
    from mmpretrain.models.backbones import VisionTransformer

    from mmmaskany.models.sub_masking import DropTokens, FillCells, ReplacePatches

    # A ViT whose embedding hands the pixels on, so that tokens can be shown.
    width = 3 * PATCH * PATCH
    arch = dict(embed_dims=width, num_layers=1, num_heads=1, feedforward_channels=1)
    vit = VisionTransformer(arch, img_size=SIDE, patch_size=PATCH).requires_grad_(False)
    projection = vit.patch_embed.projection
    projection.weight.copy_(torch.eye(width).view_as(projection.weight))
    for zero in (projection.bias, vit.pos_embed, vit.cls_token):
        zero.zero_()
    image, rows = photo(), []
    for sub in (DropTokens(), ReplacePatches(), FillCells()):
        sub.bind(vit)
        state = torch.get_rng_state()
        mask = sub.pattern.draw(1, SIDE, SIDE).pixel_mask(SIDE, SIDE)[0, 0]
        torch.set_rng_state(state)
        seen = []
        with sub.masked(vit, image) as masked, torch.no_grad():
            vit.layers[0].register_forward_pre_hook(lambda layer, args, seen=seen: seen.append(args[0][0, 1:]))
            vit(masked)
        tokens = seen[0]
        label = f'{type(sub).__name__}\n{sub.pattern.ratio:.0%}, {sub.pattern.cell[0]} px'
        dropped = len(tokens) < (SIDE // PATCH) ** 2
        panel = kept_in_place(image[0], mask) if dropped else shown(from_patches(tokens))
        panels = [None if rows else shown(image[0]), shown_mask(mask), panel, packed(tokens) if dropped else None]
        rows.append((label, panels))
    return Sheet(('the main branch sees', 'mask', 'the sub-branch sees', 'as 98 of 196 tokens'), rows)


def schedule() -> Sheet:
    """MaskAny's grid and patch from the first epoch to the last."""
    from mmmaskany.engine.hooks import MaskScheduleHook

    image, steps = photo(), 5
    hook = MaskScheduleHook(scale=(0.25, 0.75))
    rows, titles = [], {}
    for label, pattern in {'patch': PatchPattern(scale=0.5), 'grid, 8 px': GridPattern(scale=0.5, cell=8)}.items():
        lines = [[], [], []]
        for step in range(steps):
            pattern.share = hook.value(step, steps)
            visible, reused, draw = Masking(pattern, BLACK)(image, generator=torch.Generator().manual_seed(4))
            epoch = '' if rows else f'epoch {step + 1} of {steps}: '
            titles[len(rows), step] = f'{epoch}scale {pattern.share:g}\n{draw.ratio.item():.0%} masked'
            for line, view in zip(lines, (visible, reused), strict=False):
                line.append(shown(view[0]))
        rows += [(f'{label}\nvisible', lines[0]), (f'{label}\nreused', lines[1])]
    return Sheet([''] * steps, rows, titles)


def maskmix() -> Sheet:
    """Two photos mixed by several patterns."""
    from mmmaskany.models.batch_augments import MaskMix

    images, rows, titles = torch.cat([photo('temple'), photo('flower')]), [], {}
    patterns = {
        'patch: CutMix\nscale 0.5': PatchPattern(scale=0.5),
        'grid\nscale 0.5, 28 px': GridPattern(scale=0.5, cell=28),
        'random\nratio 0.4, 32 px': RandomPattern(ratio=0.4, cell=32),
        'red noise\nratio 0.5, 8 px': NoisePattern(ratio=0.5, cell=8, color='red', sigma=3.0),
    }
    for label, pattern in patterns.items():
        state = torch.get_rng_state()
        mask = pattern.draw(2, SIDE, SIDE).pixel_mask(SIDE, SIDE)[0, 0]
        torch.set_rng_state(state)
        mixed, scores = MaskMix(pattern)(images, torch.eye(2))
        temple, flower = scores[0].tolist()
        head = 'mixed image, and its label\n' if not rows else ''
        titles[len(rows), 3] = f'{head}{temple:.2f} temple, {flower:.2f} flower'
        first = [None, None] if rows else [shown(image) for image in images]
        rows.append((label, [*first, shown_mask(mask), shown(mixed[0])]))
    return Sheet(('photo', 'partner', 'mask', ''), rows, titles, ('temple', 'flower'))


def layer_masking() -> Sheet:
    """What layers of several sizes look at where a photo is masked."""
    image, rows, white = photo(), [], ConstantFill(((1 - MEAN) / STD).flatten().tolist())
    patterns = {
        'random\nratio 0.5, 28 px': RandomPattern(ratio=0.5, cell=28),
        'patch\nratio 0.3': PatchPattern(ratio=0.3),
    }
    for label, pattern in patterns.items():
        mask = drawn(pattern, seed=5)[None, None]
        panels = [shown(BLACK(image, mask)[0])]
        layers = MaskedLayers(~mask)
        for stride in (4, 16):
            with layers:
                features = F.avg_pool2d(image, stride)
            hidden = ~layers.at(features)
            reached = hidden & F.max_pool2d((~hidden).float(), 3, 1, 1).bool()
            for view in (white(features, hidden), white(layers.filled(features, 1), hidden & ~reached)):
                panels.append(shown(F.interpolate(view, (SIDE, SIDE))[0]))
        rows.append((label, panels))
    heads = (
        'filled: a colour, an edge',
        '1/4: visible features',
        'as a 3 x 3 kernel sees them',
        '1/16: visible features',
    )
    return Sheet((*heads, 'as a 3 x 3 kernel sees them'), rows)


METHODS: dict[str, Callable[[], Sheet]] = {
    'maskany': maskany,
    'masksub': masksub,
    'cutout': cutout,
    'gridmask': gridmask,
    'random-cells': random_cells,
    'mae': mae,
    'blocks': blocks,
    'noise': noise,
    'schedule': schedule,
    'maskmix': maskmix,
    'layer-masking': layer_masking,
}


# ---------------------------------------------------------------------- drawing


def make(name: str) -> Sheet:
    """Make the panels of a method, the same every time, and leave the random numbers of the caller alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[name]()


def draw(sheet: Sheet) -> Figure:
    """Draw a sheet, every panel in its true size relative to the others."""
    rows, cols = len(sheet.rows), len(sheet.heads)
    figure = Figure(figsize=(1.25 + 1.62 * cols, 0.22 + 1.78 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, cols, squeeze=False)
    for row, (label, panels) in enumerate(sheet.rows):
        for col, panel in enumerate(panels):
            axis = axes[row, col]
            if panel is None:
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            else:
                draw_panel(axis, panel.numpy(), SIDE, SIDE)
            title = sheet.titles.get((row, col), sheet.heads[col] if row == 0 else '')
            axis.set_title(title, fontsize=8, pad=3)
        axes[row, 0].set_ylabel(label, rotation=0, ha='right', va='center', fontsize=8, labelpad=6)
    figure.supxlabel(credit(*sheet.photos), x=0.995, ha='right', fontsize=6, color='0.5')
    return figure


def to_png(figure: Figure, colors: int = 48) -> bytes:
    """Return a figure as a PNG of few colours: a third of the bytes, and the eye hardly sees it."""
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert('RGB')
    buffer = io.BytesIO()
    image.quantize(colors, dither=Image.Dither.NONE).save(buffer, 'PNG', optimize=True)
    return buffer.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Write the pictures and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('methods', nargs='*', metavar='METHOD', help=f'which: {", ".join(METHODS)} (default: all)')
    parser.add_argument('--out', type=Path, default=OUT, help='folder to write to (default: docs/methods/figures)')
    args = parser.parse_args(argv)
    unknown = [name for name in args.methods if name not in METHODS]
    if unknown:
        print(f'error: METHOD must be one of {", ".join(METHODS)}, but got {", ".join(unknown)}', file=sys.stderr)
        return 1
    for name in args.methods or METHODS:
        path = args.out / f'{name}.png'
        atomic_write(path, to_png(draw(make(name))))
        print(f'wrote {path}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
