# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Late fusion of the feature levels of the visible and the reused image."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmaskany.registry import MODELS

from ..backbones.levels import BranchLevels, Layout, build_level_fusions, fuse_level


@MODELS.register_module()
class MaskAnyNeck(BaseModule):
    """Align and fuse, level by level, two feature pyramids that one shared backbone made, then run an inner neck.

    It stands behind a :func:`.MaskAny` backbone with ``fuse_at='neck'``, in any of the libraries, where each branch
    has a loss of its own; else ``fuse_at='levels'`` fuses in the backbone and needs no neck::

        visible image ─┐           ┌─ v1 .. vL ───────────┐
                       ├ backbone ─┤                      ├ fuse ─ f1 .. fL ─ inner neck
        reused image ──┘           └─ r1 .. rL ─ resize ──┘

    Source: the second way of fusion ("feature fusion and alignment", MaskAnyNet, arXiv 2511.12480, Figure 2).

    Args:
        in_channels (int | Sequence[int]): Channels of each level of the backbone; an int means one level.
        fusion (str | dict): The fusion of each level: 'add', 'concat', 'gated' or a config. Defaults to 'add'.
        neck (dict | nn.Module | None): The neck that takes the L fused levels as a tuple, such as
            ``dict(type='mmpretrain.GlobalAveragePooling')`` or ``dict(type='mmdet.FPN', ...)``. None returns the
            fused levels themselves. Defaults to None.
        with_branches (bool): Whether to run the inner neck, with shared weights, on the levels of each branch as
            well and return ``(*visible, *reused, *fused)``, for :class:`.MaskAnyClsHead`. A head that takes the
            last feature sees the fused one in either case. Defaults to False.
        init_cfg (dict | list | None): Initialisation config. Defaults to None.

    Shape:
        - inputs: :class:`BranchLevels`, L levels ``(B, C_i, H_i, W_i)`` of the visible image and as many
          ``(B, C_i, h_i, w_i)`` of the reused one, which are resized bilinearly to the visible one's size; or vectors
          ``(B, C_i)`` of both, as a ViT returns.
        - output: what the inner neck returns, as a tuple.

    Raises:
        TypeError: If ``neck`` is neither a config nor a module, or the inputs are no :class:`BranchLevels`.
        ValueError: If the number of levels or their channels are not the ones announced.

    Example:
        >>> import torch
        >>> from mmmaskany.models.backbones import BranchLevels
        >>> neck = MaskAnyNeck([8, 16])
        >>> visible = (torch.ones(1, 8, 8, 8), torch.ones(1, 16, 4, 4))
        >>> reused = (torch.ones(1, 8, 4, 4), torch.ones(1, 16, 2, 2))
        >>> [tuple(level.shape) for level in neck(BranchLevels(visible, reused))]
        [(1, 8, 8, 8), (1, 16, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        fusion: str | dict = 'add',
        neck: dict | nn.Module | None = None,
        with_branches: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        if not self.in_channels:
            raise ValueError('in_channels must name the channels of at least one level, but got none')
        self.fusions = build_level_fusions(fusion, self.in_channels)
        self.neck = MODELS.build(neck) if isinstance(neck, dict) else neck
        if self.neck is not None and not isinstance(self.neck, nn.Module):
            raise TypeError(f'neck must be a config, a module or None, but got {neck!r}')
        self.with_branches = with_branches

    def forward(self, inputs: BranchLevels) -> tuple[Tensor, ...]:
        self._check(inputs)
        visible, reused = inputs.visible, inputs.reused
        fused = [
            fuse_level(fusion, Layout('map' if own.ndim == 4 else 'vector', own.shape[1]), own, other)
            for fusion, own, other in zip(self.fusions, visible, reused, strict=True)
        ]
        branches = (visible, reused, fused) if self.with_branches else (fused,)
        return tuple(level for branch in branches for level in self._inner(tuple(branch)))

    def _inner(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outs = levels if self.neck is None else self.neck(levels)
        return (outs,) if isinstance(outs, Tensor) else tuple(outs)

    def _check(self, inputs: BranchLevels) -> None:
        if not isinstance(inputs, BranchLevels):
            raise TypeError(
                "MaskAnyNeck takes what a MaskAny backbone with fuse_at='neck' returns, the BranchLevels of both "
                f'images, but got a {type(inputs).__name__}: give the backbone that option, or leave out the neck'
            )
        for name, branch in (('visible', inputs.visible), ('reused', inputs.reused)):
            if len(branch) != len(self.in_channels):
                raise ValueError(
                    f'in_channels names {len(self.in_channels)} level(s), but the backbone returns {len(branch)} of '
                    f'the {name} image'
                )
            if any(not isinstance(level, Tensor) or level.ndim not in (2, 4) for level in branch):
                got = [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in branch]
                raise ValueError(
                    f'the levels of the {name} image must be feature maps (B, C, H, W) or vectors (B, C), but got '
                    f"{got}: fuse_at='levels' fuses tokens, too"
                )
            channels = tuple(level.shape[1] for level in branch)
            if channels != self.in_channels:
                raise ValueError(
                    f'the levels of the {name} image must have {self.in_channels} channels, but got {channels}'
                )
