# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSwin: the Swin transformer of the MaskAnyNet paper."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn

from mmmaskany.checkpoints.format import FormatMixin
from mmmaskany.registry import MODELS

from ..stems import build_fusion, patch_dual_stem
from .maskany import MaskAnyMixin, as_masking


@MODELS.register_module()
class MaskSwinTransformer(FormatMixin, MaskAnyMixin, SwinTransformer):
    """The MaskSwin of MaskAnyNet (arXiv 2511.12480), exactly: same layers, same parameter counts.

    It differs from mmpretrain's SwinTransformer in two things:

    1. Its stem: two projections to patches, of half the channels each, with a layer norm of their own. Their features
       are concatenated.
    2. Windows are shifted even where the map is one window, and smaller maps are padded to one: ``pad_small_map=True``.
       A checkpoint of format 1 goes on computing what it was trained with, the host's way.

    ::

        visible (H, W) ──── 4x4/4 to C/2 ─ LN ──┐
                                                concat ─ (H/4, W/4) ─ stages
        reused (H/2, W/2) ─ 2x2/2 to C/2 ─ LN ──┘

    Args:
        arch (str | dict): 'tiny', 'small', 'base', 'large' or what mmpretrain takes. Defaults to 'tiny'.
        fusion (str | dict | nn.Module): 'concat', the paper's; 'add': the sum of two projections to all channels.
            Neither has parameters. Or a config of a learned fusion, such as ``dict(type='mmmaskany.GatedFusion')``,
            of two projections to all channels. Defaults to 'concat'.
        masking (dict | nn.Module | None): What masks a batch in training mode, see :func:`.MaskAny`. Defaults to None.
        pad_small_map (bool): Whether maps no larger than a window are padded and shifted. Defaults to True.
        frozen (bool): Whether to train the head alone, see :meth:`MaskAnyMixin.freeze`. Defaults to False.
        **kwargs: Other arguments of mmpretrain's SwinTransformer, such as ``img_size``, ``frozen_stages`` and
            ``with_cp``. ``patch_size`` must be even.

    Shape:
        - input: ``(B, 3, H, W)``, or a pair of it and ``(B, 3, H / 2, W / 2)``.
        - output: tuple of the stages in ``out_indices``.

    Raises:
        ValueError: If the patches cannot be halved, or the fusion is not known.

    Parameters with 1000 classes: MaskSwin-T 28,286,626; -S 49,604,530; -B 87,765,920.
    """

    formats = (1, 2)

    def __init__(
        self,
        arch: str | dict = 'tiny',
        fusion: str | dict | nn.Module = 'concat',
        masking: dict | nn.Module | None = None,
        pad_small_map: bool = True,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(arch, pad_small_map=pad_small_map, **kwargs)
        self.pad_small_map = pad_small_map
        embed = self.patch_embed
        fusion = build_fusion(fusion, self.embed_dims, paper=True)
        embed.projection = patch_dual_stem(embed.projection, fusion, embed.norm)
        embed.norm = None  # each stem has its own, before the fusion
        self.stem_parts = ('patch_embed.projection',)
        self.masking = as_masking(masking)
        self._freeze_stages()
        if frozen:
            self.freeze()
        self.warn_if_frozen()

    def set_extra_state(self, state: Tensor | int) -> None:
        super().set_extra_state(state)
        for module in self.modules():
            if isinstance(module, ShiftWindowMSA):
                module.pad_small_map = self.pad_small_map and self.format > 1
