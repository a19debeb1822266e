# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskEfficientNetV2: the EfficientNetV2 of the MaskAnyNet paper."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones import EfficientNetV2
from torch import nn

from mmmaskany.registry import MODELS

from ..stems import DualStem, build_fusion, stem_channels
from .maskany import MaskAnyMixin, as_masking


@MODELS.register_module()
class MaskEfficientNetV2(MaskAnyMixin, EfficientNetV2):
    """The MaskEfficientNetV2 of MaskAnyNet (arXiv 2511.12480), exactly: same layers, same parameter counts.

    It differs from mmpretrain's EfficientNetV2 in four things:

    1. Two stems. Visible: convolution 3 x 3 / 2, BN, SiLU. Reused: convolution 3 x 3 / 1, BN, SiLU. Their features
       are added.
    2. Stem and first stage of S are 48 wide instead of 24.
    3. Convolutions are padded by the same on all sides. mmpretrain's pad as TensorFlow does, on the right and below
       only where the stride is 2: ``conv_cfg=dict(type='Conv2dAdaptivePadding')``.
    4. Drop path of 0.2.

    ::

        visible (H, W) ──── 3x3/2 ──┐
                                    add ─ (H/2, W/2) ─ stages ─ 1x1 to 1280
        reused (H/2, W/2) ─ 3x3/1 ──┘

    Args:
        arch (str): 's', 'm', 'l' or what else mmpretrain has. Defaults to 's'.
        fusion (str | dict | nn.Module): 'add', the paper's; 'concat': two stems of half the channels side by side.
            Neither has parameters. Or a config of a learned fusion, such as ``dict(type='mmmaskany.GatedFusion')``,
            of two stems of all channels. Defaults to 'add'.
        masking (dict | nn.Module | None): What masks a batch in training mode, see :func:`.MaskAny`. Defaults to None.
        conv_cfg (dict | None): Kind of the convolutions. Defaults to None, PyTorch's.
        drop_path_rate (float): Drop path of the last block; it grows from 0 at the first. Defaults to the paper's 0.2.
        frozen (bool): Whether to train the head alone, see :meth:`MaskAnyMixin.freeze`. Defaults to False.
        **kwargs: Other arguments of mmpretrain's EfficientNetV2, such as ``frozen_stages`` and ``with_cp``.

    Shape:
        - input: ``(B, 3, H, W)``, or a pair of it and ``(B, 3, H / 2, W / 2)``.
        - output: tuple of the layers in ``out_indices``: 0 is the stem, the last the convolution to 1280.

    Raises:
        ValueError: If the fusion is not known.

    Parameters with 1000 classes: MaskEfficientNetV2-S 21,558,784; -M 54,140,052; -L 118,516,200.
    """

    arch_settings = {
        **EfficientNetV2.arch_settings,
        # repeats, kernel, stride, expansion, in, out, squeeze and excitation, kind
        **dict.fromkeys(
            ('small', 's'),
            [
                [2, 3, 1, 1, 48, 48, 0.0, -1],
                [4, 3, 2, 4, 48, 48, 0.0, 0],
                *EfficientNetV2.arch_settings['s'][2:],
            ],
        ),
    }

    def __init__(
        self,
        arch: str = 's',
        fusion: str | dict | nn.Module = 'add',
        masking: dict | nn.Module | None = None,
        conv_cfg: dict | None = None,
        drop_path_rate: float = 0.2,
        frozen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(arch, conv_cfg=conv_cfg, drop_path_rate=drop_path_rate, **kwargs)
        channels = self.arch[0][4]
        fusion = build_fusion(fusion, channels, paper=True)

        def stem(stride: int) -> ConvModule:
            cfgs = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
            return ConvModule(self.in_channels, stem_channels(fusion, channels), 3, stride=stride, padding=1, **cfgs)

        self.layers[0] = DualStem(stem(2), stem(1), fusion, stride=1)
        self.stem_parts = ('layers.0',)
        self.masking = as_masking(masking)
        self._freeze_stages()
        if frozen:
            self.freeze()
        self.warn_if_frozen()
