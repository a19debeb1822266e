# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Networks tested on images of which a part is hidden, the same part for every network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from mmmaskany.checkpoints.normalisation import swaps_channels
from mmmaskany.checkpoints.reading import still
from mmmaskany.engine.seeding.seeds import derive_seed
from mmmaskany.masking import ConstantFill, Fill, LayerMasking, Pattern
from mmmaskany.masking.draw import select
from mmmaskany.models.algebra import build_pattern

from .candidates import TASKS, Loaded, build_evaluator
from .named_patterns import masked_share, pattern_cfg

#: What hidden pixels show, and how a plot calls it.
FILLS = {
    'black': 'black',
    'mean': 'the mean colour',
    'texture': 'smooth textures',
    'image': 'the same place of another image',
    'layers': 'nothing: no layer sees them',
}
#: A way to hide a share of images without padding, given the place of the first in the data and their partners: a
#: context in which a network is called with the images that are given back, beside the share that is hidden of each.
Hide = Callable[[Tensor, int, 'Tensor | None'], AbstractContextManager['tuple[Tensor, list[float]]']]
#: Masks are drawn for so many images at a time.
_BLOCK = 32
#: Colours of a smooth texture along each side of an image.
_COLOURS = 4


def occlude(
    images: Tensor, pattern: Pattern, fill: Fill | Callable[[Tensor, Tensor], Tensor], first: int = 0, seed: int = 0
) -> Tensor:
    """Mask test images by a pattern, each with the mask of :func:`occlusion_mask`.

    Args:
        images (Tensor): Consecutive images of the data, ``(B, C, H, W)``; never modified.
        pattern (Pattern): Where to mask.
        fill (Fill | Callable): What stands in the masked pixels, called with images and mask.
        first (int): Place of the first image in the data. Defaults to 0.
        seed (int): Other seeds give other masks. Defaults to 0.

    Returns:
        Tensor: The masked images, ``(B, C, H, W)``.
    """
    return fill(images, occlusion_mask(images, pattern, first, seed))


def occlusion_mask(images: Tensor, pattern: Pattern, first: int = 0, seed: int = 0) -> Tensor:
    """Draw the masks of test images, each of which follows from the image's place in the data alone.

    Neither the batch size nor what was drawn before changes a mask, so all networks are tested on the same images.
    Images that were padded to those of their batch are given without, one by one.

    Args:
        images (Tensor): Consecutive images of the data, without padding, ``(B, C, H, W)``.
        pattern (Pattern): Where to mask.
        first (int): Place of the first image in the data. Defaults to 0.
        seed (int): Other seeds give other masks. Defaults to 0.

    Returns:
        Tensor: Which pixels are masked, bool ``(B, 1, H, W)``, True = masked.
    """
    height, width = images.shape[-2:]
    masks = []
    for block in range(first // _BLOCK, (first + len(images) - 1) // _BLOCK + 1):
        generator = Generator().manual_seed(derive_seed('occlusion', seed, repr(pattern), block))
        masks.append(pattern.draw(_BLOCK, height, width, generator).pixel_mask(height, width))
    mask = torch.cat(masks)[first % _BLOCK :][: len(images)]
    return mask.to(images.device)


class Pixels(NamedTuple):
    """How pixels become what a network sees.

    Args:
        mean (Tensor): Per channel, subtracted, ``(3, 1, 1)``.
        std (Tensor): Per channel, divided by, ``(3, 1, 1)``.
        to_rgb (bool): Whether channels are red, green, blue; else blue, green, red.
    """

    mean: Tensor
    std: Tensor
    to_rgb: bool

    @classmethod
    def of(cls, preprocessor: nn.Module) -> Pixels:
        """Return those of a data preprocessor of OpenMMLab; what it does not state changes nothing."""
        mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
        return cls(
            torch.zeros(3, 1, 1) if mean is None else mean.cpu(),
            torch.ones(3, 1, 1) if std is None else std.cpu(),
            swaps_channels(preprocessor),
        )

    def seen(self, image: Tensor) -> Tensor:
        """Return pixels as a network sees them.

        Args:
            image (Tensor): Blue, green, red in [0, 255], ``(..., 3, H, W)``.

        Returns:
            Tensor: Float, ``(..., 3, H, W)``.
        """
        return ((image.flip(-3) if self.to_rgb else image).float() - self.mean) / self.std


def textures(count: int, height: int, width: int, first: int = 0, seed: int = 0) -> Tensor:
    """Draw smooth textures: a few random colours, and what lies between them.

    Args:
        count (int): How many.
        height (int): Height in pixels.
        width (int): Width in pixels.
        first (int): Place of the first image in the data. Defaults to 0.
        seed (int): Other seeds give other textures. Defaults to 0.

    Returns:
        Tensor: Pixels in [0, 255], float ``(count, 3, height, width)``.
    """
    colours = [
        torch.rand(
            3, _COLOURS, _COLOURS, generator=Generator().manual_seed(derive_seed('texture', seed, first + index))
        )
        for index in range(count)
    ]
    smooth = F.interpolate(torch.stack(colours), (height, width), mode='bicubic', align_corners=True)
    return 255 * smooth.clamp(0, 1)


def build_fill(kind: str, preprocessor: torch.nn.Module) -> ConstantFill:
    """Build a fill of one colour, in units of the normalised images.

    Args:
        kind (str): 'black', or 'mean' for the mean colour of the data as the config states it.
        preprocessor (nn.Module): The data preprocessor, with the ``mean`` and ``std`` of its normalisation, if any.

    Returns:
        ConstantFill: The fill.

    Raises:
        ValueError: If the mean is asked for, but the config does not normalise.
    """
    mean = getattr(preprocessor, 'mean', None)
    if kind == 'mean' and mean is None:
        raise ValueError("the mean colour needs the data's mean in data_preprocessor.mean, but the config has none")
    if kind == 'mean' or mean is None:
        return ConstantFill(0.0)
    return ConstantFill((-mean / preprocessor.std).flatten().tolist())


def by_pattern(
    name: str, ratio: float, loaded: Loaded, fill: str = 'black', cell: int | None = None, seed: int = 0
) -> Hide:
    """Return how a pattern hides a share of images.

    Args:
        name (str): The pattern, see :func:`~.named_patterns.pattern_cfg`.
        ratio (float): The share.
        loaded (Loaded): The network.
        fill (str): What hidden pixels show, of :data:`FILLS`. Defaults to 'black'.
        cell (int | None): Side of a cell in pixels; None is an eighth of the images' side. Defaults to None.
        seed (int): Other seeds hide other places. Defaults to 0.

    Returns:
        Hide: What hides.

    Raises:
        ValueError: If its layers are to be masked, and it is no classifier or pads its images.
    """
    preprocessor = loaded.model.data_preprocessor
    pixels = Pixels.of(preprocessor)
    constant = build_fill(fill, preprocessor) if fill in ('black', 'mean') else None
    if fill == 'layers' and loaded.cfg.default_scope != 'mmpretrain':
        raise ValueError(
            "fill='layers' is for classifiers, which predict for an image as a whole, but got a "
            f'{TASKS[loaded.cfg.default_scope]}'
        )
    if fill == 'layers' and getattr(preprocessor, 'pad_size_divisor', 1) > 1:
        raise ValueError(
            "fill='layers' needs images without padding, but data_preprocessor.pad_size_divisor is "
            f'{preprocessor.pad_size_divisor}'
        )
    patterns: dict[tuple[int, int], tuple] = {}

    @contextmanager
    def hide(images: Tensor, first: int, partners: Tensor | None) -> Iterator[tuple[Tensor, list[float]]]:
        size = tuple(images.shape[-2:])
        if size not in patterns:
            # Which looks at nothing: all networks see the same masks.
            pattern = build_pattern(pattern_cfg(name, min(size), cell, ratio=ratio), ())
            layers = LayerMasking(loaded.model, size) if fill == 'layers' else None
            patterns[size] = pattern, masked_share(pattern, *size), layers
        pattern, share, layers = patterns[size]
        shares = [share] * len(images)
        if layers is not None:
            with layers.masked(images, occlusion_mask(images, pattern, first, seed)) as visible:
                yield visible, shares
            return
        if fill == 'texture':
            partners = pixels.seen(textures(len(images), *size, first, seed)).to(images)
        content = constant or (lambda images, mask: select(mask, partners, images))
        yield occlude(images, pattern, content, first, seed), shares

    return hide


def whole(images: Tensor, first: int, partners: Tensor | None) -> AbstractContextManager[tuple[Tensor, list[float]]]:
    """Hide nothing."""
    return nullcontext((images, [0.0] * len(images)))


def evaluate_hidden(
    loaded: Loaded,
    ways: Sequence[Hide],
    partners: Iterator[tuple[Tensor, Sequence]] | None = None,
    watch: Callable[[Iterable], Iterable] = iter,
    note: Callable[[int, Sequence], None] | None = None,
) -> list[tuple[dict, float]]:
    """Test a network on its test data, hidden in each of some ways.

    Args:
        loaded (Loaded): The network.
        ways (Sequence[Hide]): The ways.
        partners (Iterator | None): Other images and their data samples, a batch for each of the network's. Defaults to
            None.
        watch (Callable): Goes over the batches in its own way, to show how far it is. Defaults to ``iter``.
        note (Callable | None): Called with the place of the first image of a batch, and what was predicted for the
            batch in the first way. Defaults to None.

    Returns:
        list[tuple[dict, float]]: For each way what the evaluator gave, and the mean share that was hidden.
    """
    with still():
        evaluators = [build_evaluator(loaded.cfg, loaded.dataset, loaded.places) for _ in ways]
    shares: list[list[float]] = [[] for _ in ways]
    first = 0
    with torch.no_grad():
        for images, samples in watch(loaded.batches()):
            partner = None if partners is None else _of_size(*next(partners), images, samples)
            for hide, evaluator, own in zip(ways, evaluators, shares, strict=True):
                with _without_padding(hide, images, samples, first, partner) as (left, found):
                    predicted = loaded.model(left, copy.deepcopy(samples), mode='predict')
                if note and evaluator is evaluators[0]:
                    note(first, predicted)
                evaluator.process(predicted)
                own += found
            first += len(images)
    with still():
        return [
            (evaluator.evaluate(first), sum(own) / first) for evaluator, own in zip(evaluators, shares, strict=True)
        ]


@contextmanager
def _without_padding(
    hide: Hide, images: Tensor, samples: Sequence, first: int, partners: Tensor | None
) -> Iterator[tuple[Tensor, list[float]]]:
    """Hide a share of each image as if it were alone: what its batch added to its borders is left as it is."""
    sizes = [sample.unpadded for sample in samples]
    if {*sizes} == {tuple(images.shape[-2:])}:
        with hide(images, first, partners) as found:
            yield found
        return
    left, shares = images.clone(), []
    with ExitStack() as stack:
        for index, (height, width) in enumerate(sizes):
            own = slice(index, index + 1), slice(None), slice(height), slice(width)
            partner = None if partners is None else partners[own]
            left[own], share = stack.enter_context(hide(images[own], first + index, partner))
            shares += share
        yield left, shares


def _of_size(others: Tensor, other_samples: Sequence, images: Tensor, samples: Sequence) -> Tensor:
    """Return other images at the sizes of those that they stand in for, all without their padding."""
    if others.shape == images.shape and all(
        sample.unpadded == images.shape[-2:] for sample in (*other_samples, *samples)
    ):
        return others
    partners = torch.zeros_like(images)
    for index, (other, sample) in enumerate(zip(other_samples, samples, strict=True)):
        (height, width), (rows, columns) = other.unpadded, sample.unpadded
        partners[index : index + 1, :, :rows, :columns] = F.interpolate(
            others[index : index + 1, :, :height, :width], (rows, columns), mode='bilinear', align_corners=False
        )
    return partners
