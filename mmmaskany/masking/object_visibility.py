# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a draw leaves of the objects in the images, and draws that leave enough of each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .draw import Draw, kept_first, to_pixels

#: What may become of objects that are hidden, see :class:`ObjectPolicy`.
POLICIES = ('keep', 'ignore', 'drop', 'spare')


def visible_boxes(draw: Draw, boxes: Sequence[Tensor]) -> list[Tensor]:
    """Calculate which share of each box a draw leaves visible, exactly.

    The integral of a mask of cells is bilinear between their corners, so a table of its sums there gives the masked
    area of any box, whole pixels or not.

    Args:
        draw (Draw): The draw.
        boxes (Sequence[Tensor]): The boxes of each image, ``(N, 4)`` as left, top, right and bottom in pixels. What
            lies outside of the image is visible.

    Returns:
        list[Tensor]: Their visible shares, float ``(N,)``; 1 for a box without area.

    Raises:
        ValueError: If there are not boxes for each image, or they are of another shape.
    """
    _check(draw, boxes)
    counts = [len(each) for each in boxes]
    device, (rows, cols) = draw.mask.device, draw.mask.shape[1:]
    x, y = torch.cat(list(boxes)).to(device, torch.double).T.reshape(2, 2, -1).unbind(1)  # low and high, (2, boxes)
    area = (x[1] - x[0]) * (y[1] - y[0])
    image = torch.repeat_interleave(torch.tensor(counts, device=device), output_size=sum(counts))
    # In whole numbers, and then in double precision: small boxes take differences of large sums.
    sums = F.pad(draw.mask.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32), (1, 0, 1, 0))
    x, y = (x / draw.base).clamp(0, cols), (y / draw.base).clamp(0, rows)
    col, row = x.long().clamp_(max=cols - 1), y.long().clamp_(max=rows - 1)
    at = ((image * (rows + 1) + row) * (cols + 1))[:, None] + col
    around = torch.stack([at, at + 1, at + cols + 1, at + cols + 2])
    around = sums.flatten().index_select(0, around.flatten()).double().view_as(around)
    upper, lower = torch.lerp(around[::2], around[1::2], x - col)
    (a, b), (c, d) = torch.lerp(upper, lower, (y - row)[:, None])  # integrals: top left, top right, bottom left ...
    hidden = (d - c - b + a) * draw.base**2
    shares = torch.where(area > 0, 1 - hidden / area, 1.0)
    return list(shares.float().split(counts))


def visible_masks(draw: Draw, masks: Sequence[Tensor]) -> list[Tensor]:
    """Calculate which share of each instance mask a draw leaves visible, exactly.

    Args:
        draw (Draw): The draw.
        masks (Sequence[Tensor]): The instances of each image, bool ``(N, H, W)``; what padding has added to the
            image may be left out.

    Returns:
        list[Tensor]: Their visible shares, float ``(N,)``; 1 for an empty instance.

    Raises:
        ValueError: If there are not masks for each image, or they are of another shape.
    """
    _check(draw, masks, 3)
    shares = []
    for hidden, each in zip(draw.mask, masks, strict=True):
        areas = mask_areas(each, draw.base, hidden.shape)
        total = each.flatten(1).sum(1)
        share = 1 - (areas.flatten(1) @ hidden.to(areas).flatten()) / total
        shares.append(torch.where(total > 0, share, 1.0).float().to(draw.mask.device))
    return shares


def box_areas(boxes: Tensor, base: int, grid: tuple[int, int]) -> Tensor:
    """Calculate how much of each cell each box covers.

    Args:
        boxes (Tensor): ``(N, 4)``, see :func:`visible_boxes`.
        base (int): Side of a cell in pixels.
        grid (tuple[int, int]): Rows and columns of the base grid.

    Returns:
        Tensor: Areas in pixels, double ``(N, rows, cols)``.
    """
    boxes = boxes.double()

    def cover(low: Tensor, high: Tensor, count: int) -> Tensor:
        start = torch.arange(count, device=boxes.device) * base
        return (torch.minimum(high[:, None], start + base) - torch.maximum(low[:, None], start)).clamp(min=0)

    across, down = cover(boxes[:, 0], boxes[:, 2], grid[1]), cover(boxes[:, 1], boxes[:, 3], grid[0])
    return down[:, :, None] * across[:, None, :]


def mask_areas(masks: Tensor, base: int, grid: tuple[int, int]) -> Tensor:
    """Calculate how many pixels of each cell each instance covers.

    Args:
        masks (Tensor): Bool ``(N, H, W)``, see :func:`visible_masks`.
        base (int): Side of a cell in pixels.
        grid (tuple[int, int]): Rows and columns of the base grid.

    Returns:
        Tensor: Numbers of pixels, double ``(N, rows, cols)``.
    """
    height, width = (side * base for side in grid)
    masks = masks[:, :height, :width]
    masks = F.pad(masks, (0, width - masks.shape[2], 0, height - masks.shape[1]))
    return masks.view(len(masks), grid[0], base, grid[1], base).sum((2, 4)).double()


def visible(draw: Draw, objects: Sequence[Tensor]) -> list[Tensor]:
    """Calculate which share of each box, or instance mask, a draw leaves visible, as their shape says."""
    return visible_masks(draw, objects) if any(each.dim() == 3 for each in objects) else visible_boxes(draw, objects)


def sizes(objects: Sequence[Tensor]) -> list[Tensor]:
    """Return the areas of boxes, or of instance masks, in square pixels."""
    return [
        each.flatten(1).sum(1).float() if each.dim() == 3 else (each[:, 2:] - each[:, :2]).prod(1) for each in objects
    ]


def spare(
    draw: Draw,
    objects: Sequence[Tensor],
    min_visible: float,
    min_area: float = 0,
    generator: Generator | None = None,
) -> Draw:
    """Correct a draw so that enough of each object stays visible.

    Cells of objects that lose too much are uncovered, at random, and as many others are masked in their place: first
    such outside of all objects, then such of objects that have enough to spare. Where the drawn cells lie at multiples
    of their side it is done in these, and in base cells only for what is lacking then. Where there are not enough of
    them the image is masked less, as :attr:`Draw.ratio` then says. An image whose objects are visible enough keeps its
    draw.

    Args:
        draw (Draw): The draw.
        objects (Sequence[Tensor]): The boxes of each image, see :func:`visible_boxes`, or its instance masks, see
            :func:`visible_masks`.
        min_visible (float): The share of an object that must stay visible.
        min_area (float): Objects of less than this many square pixels are not masked at all. Defaults to 0.
        generator (Generator | None): Source of random numbers, on the CPU; None is the global one. Defaults to None.

    Returns:
        Draw: The corrected draw. The canvas of a corrected image shows what it masks, in the order of the image, and is
        empty where that is less than it has place for.
    """
    device, areas = draw.mask.device, sizes(objects)
    least = [torch.where(area < min_area, 1.0, min_visible).to(device) for area in areas]
    shares = visible(draw, objects)
    lost = torch.stack([(share < low - 1e-6).any() for share, low in zip(shares, least, strict=True)])
    indices = lost.nonzero().flatten().tolist()
    if not indices:
        return draw
    mask = draw.mask.clone()
    for index in indices:
        boxes, low, total = objects[index].cpu(), least[index].cpu(), areas[index].cpu().double()
        # What an object may lose, and what may be lost to rounding.
        budget = (1 - low) * total + 1e-6 * total
        mask[index] = _spare_one(mask[index].cpu(), boxes, draw.base, budget, generator).to(device)
    source = draw.source
    if source is not None:
        order = kept_first(~mask.flatten(1))
        places = torch.arange(min(source[0].numel(), order.shape[1]), device=device)
        shown = torch.where(places < mask.flatten(1).sum(1, keepdim=True), order[:, : len(places)], -1)
        shown = F.pad(shown, (0, source[0].numel() - len(places)), value=-1).view_as(source)
        source = torch.where(lost.to(device).view(-1, 1, 1), shown, source)
    return replace(draw, mask=mask, masked=draw.masked & mask.flatten(1).any(1), source=source)


def _spare_one(drawn: Tensor, objects: Tensor, base: int, budget: Tensor, generator: Generator | None) -> Tensor:
    """Correct the mask of one image, ``(rows, cols)``: in the cells that it was drawn in, then in its base cells."""
    cover = mask_areas if objects.dim() == 3 else box_areas
    rows, cols = drawn.shape
    block = next(side for side in (16, 8, 4, 2, 1) if _consists_of(drawn, side))
    grid = rows // block, cols // block
    coarse = drawn[: grid[0] * block : block, : grid[1] * block : block].flatten()
    areas = cover(objects, base * block, grid).flatten(1)
    mask = _uncover(coarse, areas, budget, generator)
    mask = _mask_more(mask, areas, budget, int(coarse.sum() - mask.sum()), generator)
    fine = to_pixels(mask.view(1, *grid), block)[0, 0]
    fine = F.pad(fine, (0, cols - fine.shape[1], 0, rows - fine.shape[0])).flatten()
    lacking = int(drawn.sum() - fine.sum())
    if lacking and block > 1:
        fine = _mask_more(fine, cover(objects, base, (rows, cols)).flatten(1), budget, lacking, generator)
    return fine.view(rows, cols)


def _consists_of(mask: Tensor, side: int) -> bool:
    """Return whether a mask consists of squares of this many cells, at multiples of that."""
    rows, cols = (length // side for length in mask.shape)
    if not rows or not cols:
        return False
    inner = mask[: rows * side, : cols * side]
    squares = inner[::side, ::side].repeat_interleave(side, 0).repeat_interleave(side, 1)
    return torch.equal(inner, squares) and int(inner.sum()) == int(mask.sum())


def _uncover(mask: Tensor, areas: Tensor, budget: Tensor, generator: Generator | None) -> Tensor:
    """Uncover as few cells as each object needs, at random; masks ``(cells,)``, areas ``(N, cells)``."""
    mask = mask.clone()
    for index in (areas[:, mask].sum(1) > budget).nonzero()[:, 0].tolist():
        area = areas[index]
        cells = (mask & (area > 0)).nonzero()[:, 0]
        excess = area[cells].sum() - budget[index]
        if excess > 0:
            cells = cells[torch.randperm(len(cells), generator=generator)]
            mask[cells[: int(torch.searchsorted(area[cells].cumsum(0), excess)) + 1]] = False
    return mask


def _mask_more(mask: Tensor, areas: Tensor, budget: Tensor, lacking: int, generator: Generator | None) -> Tensor:
    """Mask so many cells more, as far as no object loses more than it may: those outside of all objects first."""
    mask = mask.clone()
    if lacking:
        covered = (areas > 0).any(0)
        free = (~mask & ~covered).nonzero()[:, 0]
        taken = free[torch.randperm(len(free), generator=generator)[:lacking]]
        mask[taken] = True
        lacking -= len(taken)
    if not lacking:
        return mask
    left = budget - areas[:, mask].sum(1)
    rest = (~mask).nonzero()[:, 0]
    rest = rest[torch.randperm(len(rest), generator=generator)]
    while lacking:
        # Of those that fit by themselves as many as fit together; the one after them is too much for some object.
        rest = rest[(areas[:, rest] <= left[:, None]).all(0)]
        if not len(rest):
            break
        used = areas[:, rest[:lacking]].cumsum(1)
        fit = int((used <= left[:, None]).all(0).long().cumprod(0).sum())
        mask[rest[:fit]] = True
        left, lacking, rest = left - used[:, fit - 1], lacking - fit, rest[fit:]
    return mask


class ObjectPolicy:
    """What becomes of objects that a draw hides.

    ========  ==========================================================================================
    policy    objects of which less than ``min_visible`` can be seen
    ========  ==========================================================================================
    keep      are targets as ever
    ignore    are neither targets nor background
    drop      are no targets: what is left of them is background
    spare     do not occur: the draw is corrected, see :func:`spare`, and objects of less than ``min_area``
              are not masked at all
    ========  ==========================================================================================

    Args:
        policy (str): 'keep', 'ignore', 'drop' or 'spare'. Defaults to 'keep'.
        min_visible (float): Share of an object's area, in (0, 1]. Defaults to 0.25.
        min_area (float | None): Square pixels, for 'spare' alone; None is 1024 there, below which COCO calls an object
            small. Defaults to None.
        by (str): What an object's area is: that of its box, 'boxes', or of its instance mask, 'masks'. Defaults to
            'boxes'.

    Raises:
        ValueError: If a value is not known, out of range, or not for this policy.
    """

    def __init__(
        self, policy: str = 'keep', min_visible: float = 0.25, min_area: float | None = None, by: str = 'boxes'
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f'policy must be one of {POLICIES}, but got {policy!r}')
        if not 0 < min_visible <= 1:
            raise ValueError(f'min_visible must be in (0, 1], but got {min_visible}')
        if min_area is not None and policy != 'spare':
            raise ValueError(f"min_area is for the policy 'spare' alone, but got {min_area} with {policy!r}")
        if min_area is not None and min_area < 0:
            raise ValueError(f'min_area must not be negative, but got {min_area}')
        if by not in ('boxes', 'masks'):
            raise ValueError(f"by must be 'boxes' or 'masks', but got {by!r}")
        self.policy = policy
        self.min_visible = min_visible
        self.min_area = 32 * 32 if min_area is None else min_area
        self.by = by

    @classmethod
    def build(cls, objects: str | dict | ObjectPolicy) -> ObjectPolicy:
        """Make a policy of what stands in a config: its name, or its arguments.

        Args:
            objects (str | dict | ObjectPolicy): Either, or a policy, which is returned as it is.

        Returns:
            ObjectPolicy: The policy.

        Raises:
            TypeError: If the dict has other keys than the arguments.
            ValueError: As of the class.
        """
        if isinstance(objects, ObjectPolicy):
            return objects
        if not isinstance(objects, dict):
            return cls(objects)
        known = list(inspect.signature(cls).parameters)
        unknown = [key for key in objects if key not in known]
        if unknown:
            raise TypeError(f'objects must be a dict of some of {known}, but got {unknown[0]!r}')
        return cls(**objects)

    def __repr__(self) -> str:
        small = f', min_area={self.min_area}' if self.policy == 'spare' else ''
        return f'ObjectPolicy({self.policy!r}, min_visible={self.min_visible}{small}, by={self.by!r})'

    def correct(self, draw: Draw, objects: Sequence[Tensor], generator: Generator | None = None) -> Draw:
        """Return the draw that images with these objects are masked by: another one with 'spare' alone.

        Args:
            draw (Draw): The draw.
            objects (Sequence[Tensor]): The boxes or instance masks of each image.
            generator (Generator | None): See :func:`spare`. Defaults to None.

        Returns:
            Draw: The draw.
        """
        if self.policy != 'spare':
            return draw
        return spare(draw, objects, self.min_visible, self.min_area, generator)

    def hidden(self, draw: Draw, objects: Sequence[Tensor]) -> list[Tensor]:
        """Tell which objects can be seen less than ``min_visible``.

        Args:
            draw (Draw): The draw.
            objects (Sequence[Tensor]): The boxes or instance masks of each image.

        Returns:
            list[Tensor]: Bool ``(N,)`` of each image.
        """
        return [share < self.min_visible - 1e-6 for share in visible(draw, objects)]


def _check(draw: Draw, objects: Sequence[Tensor], dims: int = 2) -> None:
    shape = '(N, 4)' if dims == 2 else '(N, H, W)'
    if len(objects) != len(draw.mask):
        raise ValueError(f'there must be objects for each of {len(draw.mask)} images, but got {len(objects)}')
    for each in objects:
        if each.dim() != dims or (dims == 2 and each.shape[1] != 4):
            raise ValueError(f'the objects of an image must be of shape {shape}, but got {tuple(each.shape)}')
