# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw what a config's masking does to its own training data: image, mask, visible and reused view, as PNG sheets.

    python tools/visualization/browse_masks.py CONFIG --out work_dirs/masks

Any config of mmpretrain, mmdet or mmseg that masks, in model or data pipeline, through its own training pipeline:

- training.png: samples as they are trained on, with the config's own probabilities
- PATTERN.png, one for each pattern of the config: samples that it masks
- patterns.png: all patterns side by side, the config's own of other packages too, and those that it lacks with similar
  parameters

The same seed gives the same files. Batch augmentations such as mixup are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, FUNCTIONS, MODELS
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany import masking as algebra
from mmmaskany.engine import launch
from mmmaskany.engine.checks.config import OptionAction, read_config
from mmmaskany.engine.seeding.seeds import derive_seed, seed_cpu
from mmmaskany.masking import ImageFill, Masking, MixturePattern, NoisePattern, PatchPattern, Pattern, half_size
from mmmaskany.masking.masking import resize
from mmmaskany.user_errors import run
from mmmaskany.visualization import Panels, batch_panels, mask_picture, save_figure, sheet

#: The patterns, noise once for each color.
KINDS = (
    *(dict(type=name) for name in ('PatchPattern', 'GridPattern', 'RandomPattern', 'BlockPattern')),
    *(dict(type='NoisePattern', color=color) for color in ('red', 'blue', 'green', 'purple')),
)


class InModel:
    """Masks that a model draws on its batches.

    Args:
        masking (Masking): What masks.
        two_views (bool): Whether there is a second stem to see the reused view.
    """

    def __init__(self, masking: Masking, two_views: bool) -> None:
        self.masking = masking
        self.pattern = masking.pattern
        self.title = 'image: what comes out of the training pipeline.   mask: orange = masked.   visible: masked cells '
        self.title += 'are filled.'
        if two_views and masking.reuse:
            in_place = masking.reuse == 'in_place'
            what = 'the image with its visible cells filled,' if in_place else 'the masked cells, stitched together'
            self.title += f'\nreused: {what} at half the side; of an unmasked sample the whole image, as at test time'
            if masking.reuse == 'aligned':
                self.title += "; the second stem's features are put back where the cells came from"
        elif two_views:
            self.title += '\nreused: reuse is off, so the second stem sees the visible image at half size'
        self.two_views = two_views

    def look(self, data: Data, index: int, pattern: Pattern | MixturePattern | None) -> Panels:
        """Show a sample masked by a pattern, by none if it is None."""
        images = data.image(index)[None]
        if isinstance(self.masking.fill, ImageFill):  # it takes another image of the batch
            other = data.image(data.indices[(data.indices.index(index) + 1) % len(data.indices)])[None]
            images = torch.cat([images, resize(other, images.shape[-2:])])
        caption = ''
        if pattern is None:
            mask, visible, reused = torch.zeros_like(images[:, :1]).bool(), images, half_size(images)
        else:
            seed_cpu(derive_seed('mask', data.seed, index))
            visible, reused, draw = Masking(pattern, self.masking.fill, self.masking.reuse)(images)
            mask = draw.pixel_mask(*images.shape[-2:])
            if draw.choice is not None:
                caption = [*pattern.names, 'unmasked'][draw.choice[0]]
        views = (visible[:1], reused[:1] if self.two_views else None, images[:1], mask[:1])
        return batch_panels(data.preprocessor, *views, [caption])[0]


class InPipeline:
    """Masks that a data pipeline draws on its samples: stands in its place, and remembers what it was given.

    Args:
        step (MaskRegions): The transform.
    """

    def __init__(self, step) -> None:
        self.step = step
        self.pattern = step.pattern
        self.title = 'image: what the pipeline masks.   mask: orange = masked.   visible and reused: what the network '
        self.title += f'gets at the end of the pipeline{"" if step.reuse else "; reuse is off"}'

    def __call__(self, results: dict) -> dict:
        self.image = results['img'].copy()
        filled = []
        for value in (0, 1):  # the mask is where the fill makes a difference
            seed_cpu(self.seed)
            filled.append(type(self.step)(self.step.pattern, fill=value, reuse=False)(dict(img=self.image))['img'])
        self.mask = np.atleast_3d(filled[0] != filled[1]).any(2)
        seed_cpu(self.seed)
        results = self.step(results)
        seed_cpu(derive_seed('after', self.seed))  # what follows is the same whatever was masked
        return results

    def look(self, data: Data, index: int, pattern: Pattern | MixturePattern | None) -> Panels:
        """Show a sample masked by a pattern, by none if it is None."""
        self.seed = derive_seed('mask', data.seed, index)
        patterns = getattr(self.pattern, 'patterns', [self.pattern])
        self.step.pattern = pattern or MixturePattern(patterns, [0.0] * len(patterns))
        caption = ''
        if isinstance(pattern, MixturePattern):
            seed_cpu(self.seed)
            picked = pattern.pick()
            caption = 'unmasked' if picked is None else pattern.names[pattern.patterns.index(picked)]
        inputs = data.load(index)
        visible, reused = (inputs, None) if isinstance(inputs, Tensor) else inputs[:2]
        image = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(self.image).transpose(2, 0, 1)))
        image = data.preprocessor(dict(inputs=image[None]), False)['inputs']
        shown = batch_panels(data.preprocessor, visible, reused, captions=[caption])[0]
        whole = batch_panels(data.preprocessor, image)[0].visible
        return shown._replace(image=whole, mask=mask_picture(self.mask))


class Data:
    """Samples of the training data, spread evenly over it, as they come out of its own pipeline.

    Args:
        dataset (Dataset): The data.
        collate (Callable): Makes a batch of samples.
        preprocessor (nn.Module): The model's data preprocessor.
        count (int): Number of samples.
        seed (int): Seed of the random transforms.
    """

    def __init__(self, dataset, collate: Callable, preprocessor: nn.Module, count: int, seed: int) -> None:
        self.dataset = dataset
        self.collate = collate
        self.preprocessor = preprocessor
        self.seed = seed
        self.indices = torch.linspace(0, len(dataset) - 1, count + 2)[1:-1].long().unique().tolist()
        self._images: dict[int, Tensor] = {}

    def load(self, index: int) -> Tensor | Sequence[Tensor]:
        """Load a sample as a batch of one, or as a pair of visible and reused views."""
        seed_cpu(derive_seed('sample', self.seed, index))
        return self.preprocessor(self.collate([self.dataset[index]]), False)['inputs']

    def image(self, index: int) -> Tensor:
        """Return the image of a sample, normalised, ``(C, H, W)``; of several views the first."""
        if index not in self._images:
            image = self.load(index)
            while not isinstance(image, Tensor) or image.ndim > 3:
                image = image[0]
            self._images[index] = image
        return self._images[index]


def find_masks(model: nn.Module, dataset) -> dict[str, InModel | InPipeline]:
    """Find what masks, in a model and in the pipeline of its training data.

    Args:
        model (nn.Module): The model.
        dataset (Dataset): The data; where its pipeline masks, the transform is replaced by one that remembers.

    Returns:
        dict[str, InModel | InPipeline]: What masks, by its name.
    """
    found = {}
    for transforms in pipelines(dataset):
        for index, step in enumerate(transforms):
            if type(step).__name__ == 'MaskRegions':
                found['MaskRegions'] = transforms[index] = InPipeline(step)
            elif type(step).__name__ == 'PatternMask':
                found['PatternMask'] = InModel(Masking(step.pattern, reuse=False), False)
    for name, module in model.named_modules():
        if isinstance(getattr(module, 'pattern', None), (Pattern, MixturePattern)):
            two_views = isinstance(module, Masking)
            if not two_views:
                module = Masking(module.pattern, getattr(module, 'fill', None), reuse=False)
            found[name] = InModel(module, two_views)
    augments = getattr(getattr(model.data_preprocessor, 'batch_augments', None), 'augments', ())
    for augment in augments:
        if isinstance(getattr(augment, 'pattern', None), (Pattern, MixturePattern)):
            found[type(augment).__name__] = InModel(Masking(augment.pattern, augment.partner, reuse=False), False)
    return found


def pipelines(dataset) -> Iterator[list]:
    """Yield the lists of transforms of a dataset and of those that it wraps."""
    pipeline = getattr(dataset, 'pipeline', None)
    if pipeline is not None:
        yield getattr(pipeline, 'transforms', pipeline)
    for wrapped in (*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)):
        if wrapped is not None:
            yield from pipelines(wrapped)


def rows_of(pattern: Pattern | MixturePattern, side: int) -> list[tuple[str, Pattern | MixturePattern | None]]:
    """List the rows of the sheet of all patterns.

    Args:
        pattern (Pattern | MixturePattern): The config's.
        side (int): Shorter side of the images in pixels, for the cells of patterns that the config does not have.

    Returns:
        list[tuple[str, Pattern | MixturePattern | None]]: Label and pattern; None for the row of unmasked samples.
    """
    mixture = isinstance(pattern, MixturePattern)
    own, probs = (pattern.patterns, pattern.probs) if mixture else ([pattern], [1.0])
    share = {key: getattr(own[0], key) for key in ('scale', 'ratio', 'base')}
    share['cell'] = max(share['base'], side // 8 // share['base'] * share['base'])
    rows, masked = [], []
    for kind in KINDS:
        cls = getattr(algebra, kind['type'])
        mine = [(one, p) for one, p in zip(own, probs, strict=True) if type(one) is cls and is_color(one, kind)]
        for one, prob in mine:
            rows.append((f'{describe(one)}\np = {prob:g}', one))
            masked.append(f'{one.name} {prob / (sum(probs) or 1):.0%}')
        if not mine:
            options = {key: value for key, value in {**kind, **share}.items() if key != 'type'}
            if cls is PatchPattern:
                del options['cell']
            rows.append((f'{describe(cls(**options))}\nnot in this config', cls(**options)))
    ours = [getattr(algebra, kind['type']) for kind in KINDS]
    for one, prob in zip(own, probs, strict=True):
        if type(one) not in ours:
            rows.append((f'{describe(one)}\np = {prob:g}', one))
            masked.append(f'{one.name} {prob / (sum(probs) or 1):.0%}')
    if len(own) > 1 and sum(probs):
        mixed = MixturePattern(own, [prob / sum(probs) for prob in probs])
        rows.append(('mixture\n' + '\n'.join(masked), mixed))
    rows.append((f'unmasked\np = {max(0, 1 - sum(probs)):g}', None))
    return rows


def is_color(pattern: Pattern, kind: dict) -> bool:
    """Tell whether a pattern has the color of a kind, where it has one."""
    return not isinstance(pattern, NoisePattern) or pattern.color == kind['color']


def describe(pattern: Pattern) -> str:
    """Name a pattern with its parameters, in two lines."""
    share = f'ratio {pattern.ratio:g}' if pattern.scale is None else f'scale {pattern.scale:g}'
    sizes = '' if isinstance(pattern, PatchPattern) else f', {", ".join(map(str, pattern.cell))} px'
    return f'{pattern.name}\n{share}{sizes}'


def sheets(masks: InModel | InPipeline, data: Data, side: int) -> Iterator[tuple[str, list]]:
    """Make the rows of each sheet.

    Args:
        masks (InModel | InPipeline): What masks.
        data (Data): The samples.
        side (int): Shorter side of the images in pixels.

    Yields:
        tuple[str, list]: Name of the sheet, and its rows for :func:`mmmaskany.visualization.sheet`.
    """
    own = masks.pattern

    def line(indices: Sequence[int], pattern: Pattern | MixturePattern | None) -> list[Panels]:
        return [masks.look(data, index, pattern) for index in indices]

    def lines(pattern: Pattern | MixturePattern, label: str) -> list[tuple[str, list[Panels]]]:
        pairs = [data.indices[at : at + 2] for at in range(0, len(data.indices), 2)]
        return [(label, line(pair, pattern)) for pair in pairs]

    yield 'training', lines(own, '')
    if isinstance(own, MixturePattern):
        for name, pattern, prob in zip(own.names, own.patterns, own.probs, strict=True):
            yield name.replace(' ', '-'), lines(pattern, f'{describe(pattern)}\np = {prob:g}')
    rows = []
    for label, pattern in rows_of(own, side):
        try:
            panels = line(data.indices[:3], pattern)
        except ValueError:
            if 'not in this config' not in label:
                raise
            continue  # there is no such pattern of these parameters in images of this size
        rows.append((label, [panel._replace(caption='') for panel in panels]))
    yield 'patterns', rows


def main(argv: list[str] | None = None) -> int:
    """Draw the sheets of one config and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config whose masking and data are shown')
    parser.add_argument('--out', type=Path, help='folder of the sheets (default: work_dirs/CONFIG/masks)')
    parser.add_argument('--num-images', type=int, default=8, help='samples on a sheet (default: 8)')
    parser.add_argument('--seed', type=int, default=0, help='seed of masks and random transforms (default: 0)')
    parser.add_argument('--masking', help='what to show of a config that masks in several places, such as sub_masking')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, metavar='KEY=VALUE', help='change config values'
    )
    args = parser.parse_args(argv)
    try:
        cfg = read_config(args.config, args.cfg_options)
        out = args.out or Path('work_dirs', Path(args.config).stem, 'masks')
        cfg.work_dir = str(out)
        if args.num_images < 1:
            raise ValueError(f'--num-images must be at least 1, but got {args.num_images}')
        converters = Path(__file__).resolve().parents[1] / 'dataset_converters'
        launch.check_files(cfg, ('train',), converters)
        if cfg.get('data_preprocessor'):
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        model, dataset = MODELS.build(cfg.model), DATASETS.build(cfg.train_dataloader.dataset)
        found = find_masks(model, dataset)
        name = args.masking or next(iter(found), None)
        if name is None:
            raise ValueError(
                f'{args.config} must mask something, in the model or in the training pipeline, but does neither: '
                'give the config of which it is the twin, or say what to mask: --cfg-options '
                'model.backbone.masking.pattern.type=mmmaskany.GridPattern model.backbone.masking.pattern.scale=0.5'
            )
        if name not in found:
            raise ValueError(f'--masking must be one of {sorted(found)} in this config, but got {name}')
        launch.collate_tensors(cfg)
        collate = cfg.train_dataloader.get('collate_fn', ConfigDict(type='pseudo_collate')).type
        collate = FUNCTIONS.get(collate) if isinstance(collate, str) else collate
        data = Data(dataset, collate, model.data_preprocessor, args.num_images, args.seed)
        masks = found[name]
        side = min(masks.look(data, data.indices[0], None).image.shape[:2])
        print(f'{name}; others in this config: {sorted(set(found) - {name}) or "none"}')
        with torch.no_grad():
            for file, rows in sheets(masks, data, side):
                (path,) = save_figure(sheet(rows, masks.title), out / file, dpi=130, kinds=('png',))
                print(f'wrote {path}', flush=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
