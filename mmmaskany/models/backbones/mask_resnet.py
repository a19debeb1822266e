# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskResNet: the ResNet of the MaskAnyNet paper."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmcv.cnn import build_activation_layer, build_conv_layer, build_norm_layer
from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import ResLayer
from torch import nn

from mmmaskany.registry import MODELS

from ..stems import DualStem, build_fusion
from .maskany import MaskAnyMixin, as_masking

_SILU = dict(type='SiLU', inplace=True)


@MODELS.register_module()
class MaskResNet(MaskAnyMixin, ResNet):
    """The MaskResNet of MaskAnyNet (arXiv 2511.12480), exactly: same layers, same parameter counts.

    It differs from mmpretrain's ResNet in four things:

    1. Two stems of ``stem_channels`` channels. Visible: convolution 7 x 7 / 2 without bias, BN, SiLU, convolution
       3 x 3 / 2 with bias, BN, SiLU, and no max pool. Reused: convolution 7 x 7 / 2 without bias, BN, SiLU.
    2. Their features are added, and the stages start from ``stem_channels`` channels.
    3. SiLU instead of ReLU in every residual block.
    4. The last norm of a block starts from 1, not from 0.

    ::

        visible (H, W) ──── 7x7/2 ─ 3x3/2 ──┐
                                            add ─ (H/4, W/4) ─ layer1 .. layer4
        reused (H/2, W/2) ─ 7x7/2 ──────────┘

    Args:
        depth (int): Depth, from {18, 34, 50, 101, 152}.
        fusion (str | dict): The fusion; a config, or 'add', 'concat', 'gated' with learned parts. Defaults to the
            paper's addition, which has none.
        masking (dict | None): What masks a batch in training mode, see :func:`.MaskAny`. Defaults to None.
        in_channels (int): Channels of the images. Defaults to 3.
        stem_channels (int): Channels of both stems. Defaults to 128.
        contract_dilation (bool): Whether the first block of a dilated stage has half its dilation, as in mmseg's
            ResNet. With strides (1, 2, 1, 1) and dilations (1, 1, 2, 4) every fourth feature in both directions is
            then exactly the one that the undilated network has there. Defaults to False.
        zero_init_residual (bool): Whether the last norm of a block starts from 0. Defaults to the paper's False.
        frozen (bool): Whether to train the head alone, see :meth:`MaskAnyMixin.freeze`. Defaults to False.
        **kwargs: Other arguments of mmpretrain's ResNet, but ``deep_stem``.

    Shape:
        - input: ``(B, 3, H, W)``, or a pair of it and ``(B, 3, H / 2, W / 2)``.
        - output: tuple of the stages in ``out_indices``.

    Parameters with 1000 classes: MaskResNet-34 22,019,304; -50 25,753,960; -101 44,746,088.
    """

    def __init__(
        self,
        depth: int,
        fusion: str | dict | nn.Module | None = None,
        masking: dict | nn.Module | None = None,
        in_channels: int = 3,
        stem_channels: int = 128,
        contract_dilation: bool = False,
        zero_init_residual: bool = False,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        self.contract_dilation = contract_dilation  # the host's constructor makes the stages
        # `deep_stem` makes the host run and freeze one module named `stem`, which is the dual stem here.
        kwargs.update(in_channels=in_channels, stem_channels=stem_channels, zero_init_residual=zero_init_residual)
        super().__init__(depth, deep_stem=True, **kwargs)
        fusion = dict(type='mmmaskany.AddFusion', scaled=False) if fusion is None else fusion
        self.stem = DualStem(
            visible=nn.Sequential(
                OrderedDict(
                    **self._stem_layer(1, in_channels, stem_channels, kernel_size=7, padding=3, bias=False),
                    **self._stem_layer(2, stem_channels, stem_channels, kernel_size=3, padding=1, bias=True),
                )
            ),
            reused=nn.Sequential(
                OrderedDict(self._stem_layer(1, in_channels, stem_channels, kernel_size=7, padding=3, bias=False))
            ),
            fusion=build_fusion(fusion, stem_channels),
        )
        self.maxpool = nn.Identity()
        self.stem_parts = ('stem',)
        self.masking = as_masking(masking)
        self._freeze_stages()
        if frozen:
            self.freeze()
        self.warn_if_frozen()

    def _stem_layer(self, index: int, in_channels: int, out_channels: int, **kwargs: Any) -> dict[str, nn.Module]:
        """Build convolution of stride 2, norm and SiLU. The paper's second convolution has a bias before its norm."""
        return {
            f'conv{index}': build_conv_layer(self.conv_cfg, in_channels, out_channels, stride=2, **kwargs),
            f'bn{index}': build_norm_layer(self.norm_cfg, out_channels)[1],
            f'act{index}': build_activation_layer(_SILU),
        }

    def make_res_layer(self, dilation: int = 1, **kwargs: Any) -> ResLayer:
        layer = super().make_res_layer(dilation=dilation, act_cfg=_SILU, **kwargs)
        if self.contract_dilation and dilation > 1:
            for module in layer[0].modules():
                if isinstance(module, nn.Conv2d) and module.dilation == (dilation, dilation):
                    module.dilation = module.padding = (dilation // 2, dilation // 2)
        return layer
