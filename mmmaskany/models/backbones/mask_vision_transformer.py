# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskViT: the vision transformer of the MaskAnyNet paper."""

from __future__ import annotations

from typing import Any

from mmengine.model import kaiming_init, trunc_normal_init
from mmpretrain.models.backbones import VisionTransformer
from torch import nn

from mmmaskany.registry import MODELS

from ..stems import build_fusion, patch_dual_stem
from .maskany import MaskAnyMixin, as_masking, plain_drop_rates


@MODELS.register_module()
class MaskVisionTransformer(MaskAnyMixin, VisionTransformer):
    """The MaskViT of MaskAnyNet (arXiv 2511.12480), exactly: same layers, same parameter counts.

    It differs from mmpretrain's VisionTransformer in three things:

    1. Two projections to patches: of the visible image with 16 x 16, of the reused one with 8 x 8 pixels. Their
       features are added. One class token and one position embedding follow, as in the host.
    2. Dropout of 0.15: after the position embedding, and in every layer after attention and feed-forward layers.
    3. Start values: linear layers of standard deviation 0.01, the patches' of Kaiming's for what leaves them, which is
       0.0032 for those of 16 px. The head, which is not the backbone's, starts from 0.01 too.

    ::

        visible (H, W) ──── 16x16/16 ──┐
                                       add ─ (H/16, W/16) ─ class token ─ position embedding ─ layers
        reused (H/2, W/2) ─ 8x8/8 ─────┘

    Args:
        arch (str | dict): 'base' and 'large' are ViT-B and ViT-L. 'small' is mmpretrain's, 768 wide with 8 layers;
            the usual ViT-S, 384 wide with 12 layers, is 'deit-small'. Defaults to 'base'.
        fusion (str | dict | nn.Module): 'add', the paper's; 'concat', its variant: projections to 384 and 384
            channels side by side. Neither has parameters. Or a config of a learned fusion, such as
            ``dict(type='mmmaskany.GatedFusion')``, of two projections to all channels. Defaults to 'add'.
        masking (dict | nn.Module | None): What masks a batch in training mode, see :func:`.MaskAny`. Defaults to None.
        drop_rate (float): Dropout rate. Defaults to the paper's 0.15.
        frozen (bool): Whether to train the head alone, see :meth:`MaskAnyMixin.freeze`. Defaults to False.
        **kwargs: Other arguments of mmpretrain's VisionTransformer, such as ``img_size``, ``out_type`` and
            ``frozen_stages``. ``patch_size`` must be even.

    Shape:
        - input: ``(B, 3, H, W)``, or a pair of it and ``(B, 3, H / 2, W / 2)``.
        - output: tuple of the layers in ``out_indices``, in the form of ``out_type``.

    Raises:
        ValueError: If the patches cannot be halved, or the fusion is not known.

    Parameters with 1000 classes: MaskViT-S/16 (deit-small) 22,124,776; -B/16 86,715,880; -L/16 304,524,264.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        fusion: str | dict | nn.Module = 'add',
        masking: dict | nn.Module | None = None,
        drop_rate: float = 0.15,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(arch, drop_rate=drop_rate, **kwargs)
        plain_drop_rates(self)
        fusion = build_fusion(fusion, self.embed_dims, paper=True)
        self.patch_embed.projection = patch_dual_stem(self.patch_embed.projection, fusion)
        self.stem_parts = ('patch_embed.projection',)
        self.masking = as_masking(masking)
        if self.frozen_stages > 0:  # as the host does in its constructor, which ran before the stems were made
            self._freeze_stages()
        if frozen:
            self.freeze()
        self.warn_if_frozen()

    def init_weights(self) -> None:
        """Initialise as the paper's code does, unless ``init_cfg`` says how, or a checkpoint does it."""
        done = self.is_init
        super().init_weights()
        if done or self.init_cfg is not None:
            return
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_init(module, std=0.01)
        dual = self.patch_embed.projection
        for stem in (dual.visible, dual.reused):
            kaiming_init(stem, mode='fan_out')
