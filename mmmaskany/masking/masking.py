# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking: pattern, fill and recompose in one step, from a batch of images to its two views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from .augments import Augment
from .draw import Draw, fill_cells, memory_format, on_cpu, packed_channels, pieces, traced
from .fills import ConstantFill, Fill
from .graphs import Graphs
from .patterns import MixturePattern, Pattern, check_pattern, draw_masks, draw_numbers
from .random_numbers import Numbers
from .recompose import recompose


class Views(NamedTuple):
    """The two images that a network with two stems sees, and the draw they were made with.

    It is what a packer, a data preprocessor and a masking hand on, and what a backbone takes beside a plain batch:
    a list or tuple of two batches is never taken for it.

    Args:
        visible (Tensor): The images with their masked regions filled, ``(B, C, H, W)``.
        reused (Tensor): The recomposed masked regions, about half the size, ``(B, C, h, w)``.
        draw (Draw | None): Which cells were masked; None where that is not known, as of masks from a data pipeline.
            Defaults to None.
    """

    visible: Tensor
    reused: Tensor
    draw: Draw | None = None


def reused_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of the reused view for images of ``height x width`` px: half, each side rounded up."""
    return (height + 1) // 2, (width + 1) // 2


def half_size(images: Tensor) -> Tensor:
    """Resize images to half their size, rounded up: what the reused stem sees of an unmasked image.

    Args:
        images (Tensor): Floating point images, ``(B, C, H, W)``.

    Returns:
        Tensor: ``(B, C, ceil(H / 2), ceil(W / 2))``; for even sizes the mean of each 2 x 2 pixels.
    """
    height, width = images.shape[-2:]
    if height % 2 or width % 2:
        return resize(images, reused_size(height, width))
    # What F.interpolate does, whose CPU kernel takes several times as long; in half precision rounded once more.
    pairs = images[:, :, 0::2] + images[:, :, 1::2]
    return (pairs[..., 0::2] + pairs[..., 1::2]).mul_(0.25)


def resize(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize images bilinearly, or return them as they are where the size is right."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode='bilinear', align_corners=False)


class Masking(nn.Module):
    """Masks a batch of images and recomposes what was masked (MaskAnyNet, arXiv 2511.12480, Figure 2).

    Args:
        pattern (Pattern | MixturePattern): Where to mask.
        fill (Fill | None): What stays in the visible image; None is :class:`ConstantFill` of 0. Defaults to None.
        reuse (bool | str): What becomes of the masked regions, one of :attr:`reuses`. True is the paper's: the reused
            view shows them, stitched together. 'aligned': it shows the same, and the second stem's features are put
            back where the cells came from, see :func:`.put_back`, so that they lie as they do at test time; a stem sees
            beyond its cell, so at the edges of small cells they are of neighbours on the canvas, too. 'in_place': the
            reused view is the image at half size in which all that is visible is filled; nothing is stitched, what
            is masked is seen at half the resolution, and any pattern will do. False is the ablation: the same masks,
            but what they hide is lost, and the reused view is the visible image at half size. Defaults to True.
        compiled (bool | None): Whether draw and both views are made by one compiled graph for each size of the images,
            with the same masks and the same pixels, but for rounding in half precision; None is on GPUs, where a
            hundred small operations take as many launches. Only patterns and fills of this package are, and only where
            nothing needs a gradient of them; of another pattern, and from the fifth size or setting on, the views
            alone. All else runs as it is, and so does everything where there is no compiler. Defaults to None.
        augment (Augment | None): What changes images that are not masked, before they are halved for the reused view.
            None leaves them as they are at test time. Defaults to None.

    Shape:
        - input: floating point images ``(B, C, H, W)``; never modified.
        - output: :class:`Views`. The reused view of a masked sample is its canvas, of another one the whole image,
          augmented where there is an ``augment``, both at half size.

    Raises:
        TypeError: If pattern, fill or augment are no such things.
        ValueError: If ``reuse`` is not known, or stitches the cells of a pattern without ``scale``, or is 'aligned'
            and its scale no half.
    """

    #: What may become of the masked part; a new answer is a value here and a branch of :meth:`reused_view`.
    reuses: tuple = (True, False, 'aligned', 'in_place')

    def __init__(
        self,
        pattern: Pattern | MixturePattern,
        fill: Fill | None = None,
        reuse: bool | str = True,
        compiled: bool | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        check_pattern(pattern)
        fill = ConstantFill() if fill is None else fill
        if not isinstance(fill, Fill):
            raise TypeError(f'fill must be a Fill, but got {type(fill).__name__}')
        if augment is not None and not isinstance(augment, Augment):
            raise TypeError(f'augment must be an Augment, but got {type(augment).__name__}')
        if reuse not in self.reuses:
            raise ValueError(f'reuse must be one of {list(self.reuses)}, but got {reuse!r}')
        if reuse and reuse != 'in_place' and pattern.scale is None:
            raise ValueError(
                f"the reused view needs a pattern with a `scale`, but got {pattern}; give a scale, or reuse='in_place' "
                'or False'
            )
        self.pattern = pattern
        self.fill = fill
        self.reuse = reuse
        self._check_scale()
        self.compiled = compiled
        self.augment = augment
        self.graphs = Graphs('masks')
        self.view_graphs = Graphs('views of masks')

    def forward(
        self,
        images: Tensor,
        draw: Draw | None = None,
        generator: Generator | None = None,
        scores: Tensor | None = None,
    ) -> Views:
        """Make both views.

        Args:
            images (Tensor): Floating point images, ``(B, C, H, W)``; never modified.
            draw (Draw | None): A draw to replay, or one that was made elsewhere, see :meth:`Draw.from_mask`; with
                ``reuse='aligned'`` it must be of scale 0.5. None draws anew, on the device of the images. Defaults to
                None.
            generator (Generator | None): Source of random numbers; None is the global one of the device. Defaults to
                None.
            scores (Tensor | None): Scores for a pattern that asks for them; others leave them alone. Defaults to
                None.

        Returns:
            Views: Both views and the draw.

        Raises:
            TypeError: If the images are no floating point numbers, or ``draw`` is no draw.
            ValueError: If it was made for other images, has no source map but is to be reused, the pattern asks for
                scores that are missing or of another grid, or its scale is no longer what ``reuse='aligned'`` needs.
        """
        if not images.is_floating_point():
            raise TypeError(f'images must be floating point, as a data preprocessor makes them, but got {images.dtype}')
        if draw is not None and not isinstance(draw, Draw):
            raise TypeError(f'draw must be a Draw, such as Draw.from_mask makes, but got {type(draw).__name__}')
        if draw is not None:
            draw.check(images)
        else:
            self._check_scale()  # which may have been changed since
        if self._compiles(images):
            visible, reused, drawn = self._run_compiled(images, draw, generator, scores)
        else:
            drawn = draw_masks(self.pattern, images, generator, scores) if draw is None else draw
            visible, reused = self._views(images, drawn)
        if self.augment is not None:
            reused = self._augmented(self.augment, images, reused, drawn, generator)
        aligned = self.reuse == 'aligned'
        return Views(visible, reused, drawn if drawn.aligned == aligned else replace(drawn, aligned=aligned))

    def _check_scale(self) -> None:
        if self.reuse == 'aligned' and self.pattern.scale != 0.5:
            raise ValueError(
                "reuse='aligned' needs scale=0.5, at which the canvas is as large as the reused view: else it is "
                f'resized, and no feature would be of whole cells, but got {self.pattern}'
            )

    def _views(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Make both views of a draw."""
        height, width = images.shape[-2:]
        learned = torch.is_grad_enabled() and (images.requires_grad or _learns(self.fill))
        if (
            on_cpu(images)
            and not learned
            and type(self.fill).forward is Fill.forward
            and self.reuse != 'in_place'  # the content of a fill may be of all images
        ):
            return self._views_in_pieces(images, draw)
        # The reused view first, and put together in place: so its buffers leave no holes, and memory is used again.
        reused = self.reused_view(images, draw)
        visible = self.fill(images, draw.pixel_mask(height, width, packed_channels(images)))
        return visible, half_size(visible) if reused is None else reused

    def _views_in_pieces(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Make both views by a few images at a time, so that a CPU finds them in its cache from step to step."""
        height, width = images.shape[-2:]
        visible = torch.empty_like(images)
        reused = _empty_like(images, reused_size(height, width))
        content = self.fill.content(images).to(images.dtype)
        several = content.dim() == 4 and len(content) > 1
        for part in pieces(images):
            some, own = images[part], draw.of(part)
            if own.masked.any():
                fill_cells(some, own, content[part] if several else content, out=visible[part])
            else:
                visible[part] = some
            view = self.reused_view(some, own)
            reused[part] = half_size(visible[part]) if view is None else view
        return visible, reused

    def _compiles(self, images: Tensor) -> bool:
        """Tell whether a graph may make the views: of what others wrote nobody knows whether it would do the same."""
        wanted = images.is_cuda if self.compiled is None else self.compiled
        ours = _is_ours(self) and _is_ours(self.fill)
        learned = _learns(self.fill) or (torch.is_grad_enabled() and images.requires_grad)
        return wanted and ours and not learned and not traced(images)

    def _run_compiled(
        self, images: Tensor, draw: Draw | None, generator: Generator | None, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Draw]:
        """Make draw and views by one graph; the draw before it where the pattern, or its setting, has no graph."""
        patterns = getattr(self.pattern, 'patterns', [self.pattern])
        if draw is None and not self.pattern.needs and all(_is_ours(part) for part in (self.pattern, *patterns)):
            batch, (height, width) = len(images), images.shape[-2:]
            numbers = draw_numbers(self.pattern, batch, height, width, generator, images.device)
            assert isinstance(numbers, Numbers)  # all patterns of this package that need no scores count theirs

            def draw_and_views(images: Tensor, values: Tensor) -> list[Tensor]:
                draw = self.pattern.draw(batch, height, width, Numbers(values), images.device)
                return [*self._views(images, draw), *draw.tensors().values()]

            outputs = self.graphs.run(repr(self), draw_and_views, [images, numbers.values])
            if outputs is not None:
                visible, reused, *made = outputs
                there = dict(source=self.pattern.scale is not None, choice=isinstance(self.pattern, MixturePattern))
                names = ['mask', 'masked', *(name for name, is_there in there.items() if is_there)]
                tensors: dict[str, Any] = dict(zip(names, made, strict=True))
                return visible, reused, Draw(base=self.pattern.base, **tensors)
            draw = self.pattern.draw(batch, height, width, numbers, images.device)
        drawn = draw_masks(self.pattern, images, generator, scores) if draw is None else draw
        names = list(drawn.tensors())

        def views_of(images: Tensor, *values: Tensor) -> list[Tensor]:
            tensors: dict[str, Any] = dict(zip(names, values, strict=True))
            return [*self._views(images, replace(drawn, **tensors))]

        key = repr(self.fill), self.reuse, drawn.base, *names
        views = self.view_graphs.run(key, views_of, [images, *drawn.tensors().values()])
        visible, reused = self._views(images, drawn) if views is None else views
        return visible, reused, drawn

    def reused_view(self, images: Tensor, draw: Draw) -> Tensor | None:
        """Make the reused view.

        Args:
            images (Tensor): The images, ``(B, C, H, W)``.
            draw (Draw): Their draw.

        Returns:
            Tensor | None: The canvas of masked samples, or with 'in_place' the image with its visible part filled, and
            the whole image of others, all at half size; None where the masked part is lost.
        """
        if not self.reuse:
            return None
        in_place = self.reuse == 'in_place'
        height, width = images.shape[-2:]
        if on_cpu(draw.masked) and (in_place or draw.source is not None) and not draw.masked.any():
            return half_size(images)
        if in_place:
            hidden = draw.pixel_mask(height, width, packed_channels(images))
            return half_size(self.fill(images, ~hidden & draw.masked.view(-1, 1, 1, 1)))
        size = reused_size(height, width)
        if on_cpu(draw.masked) and not draw.masked.all():  # then each image is made into one of them alone
            reused = _empty_like(images, size)
            samples = draw.masked.nonzero()[:, 0]
            reused[samples] = resize(recompose(images, draw, samples), size)
            for index in (~draw.masked).nonzero()[:, 0].tolist():  # a view of each costs less than a copy of all
                reused[index] = half_size(images[index : index + 1])[0]
            return reused
        canvas = resize(recompose(images, draw), size)
        if on_cpu(draw.masked):
            return canvas
        return torch.where(draw.masked.view(-1, 1, 1, 1), canvas, half_size(images))

    def _augmented(
        self, augment: Augment, images: Tensor, reused: Tensor, draw: Draw, generator: Generator | None
    ) -> Tensor:
        """Augment what the reused view shows of unmasked samples: behind any graph, which would fix what is drawn."""
        if not on_cpu(draw.masked):
            return torch.where(draw.masked.view(-1, 1, 1, 1), reused, half_size(augment(images, generator)))
        whole = ~draw.masked
        if whole.any():
            reused[whole] = half_size(augment(images[whole], generator))
        return reused

    def extra_repr(self) -> str:
        return f'pattern={self.pattern}, reuse={self.reuse!r}'


def _empty_like(images: Tensor, size: tuple[int, int]) -> Tensor:
    shape = *images.shape[:2], *size
    return torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=memory_format(images))


def _is_ours(part: object) -> bool:
    return type(part).__module__.startswith(__package__)


def _learns(fill: Fill) -> bool:
    return any(parameter.requires_grad for parameter in fill.parameters())
