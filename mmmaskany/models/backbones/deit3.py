# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""DeiT III, as published: mmpretrain's computes another network from the same weights."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones import DeiT3 as HostDeiT3
from mmpretrain.models.backbones.deit3 import DeiT3TransformerEncoderLayer
from mmpretrain.models.utils import LayerScale
from torch import Tensor, nn

from mmmaskany.checkpoints.mismatch import CheckpointMismatchError
from mmmaskany.registry import MODELS


class DeiT3Layer(DeiT3TransformerEncoderLayer):
    """A layer of DeiT III whose feed-forward part takes what ``ln2`` normalised, as in a ViT (arXiv 2204.07118).

    mmpretrain's takes what ``ln1`` normalised once more and leaves ``ln2`` unused: published weights give other
    features, and a distributed training stops at its second step, since ``ln2`` gets no gradient.

    Shape:
        - input, output: ``(B, N, C)``.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return self.ffn(self.ln2(x), identity=x)


def mend(host: nn.Module) -> None:
    """Let a DeiT III of mmpretrain compute what was published; any other network, and :class:`DeiT3`, stays as it is.

    No parameter changes its name. Weights that were trained with the layers as mmpretrain has them are refused from
    then on, because they would compute another function.

    Args:
        host (nn.Module): The backbone, changed in place.
    """
    if isinstance(host, HostDeiT3) and not isinstance(host, DeiT3):
        _mend_layers(host)


def _mend_layers(host: HostDeiT3) -> None:
    for layer in host.layers:
        layer.__class__ = DeiT3Layer
    host.register_load_state_dict_pre_hook(_refuse_unused_ln2)


def _refuse_unused_ln2(host: HostDeiT3, state_dict: dict, prefix: str, *_: Any) -> None:
    def untouched(norm: str) -> bool:
        weights = [state_dict.get(f'{prefix}layers.{index}.{norm}.weight') for index in range(len(host.layers))]
        return all(weight is not None and bool((weight == 1).all()) for weight in weights)

    if untouched('ln2') and not untouched('ln1'):
        raise CheckpointMismatchError(
            f'the weights of {type(host).__name__} must come from a network whose layers use both of their norms, but '
            "ln2 is as it was made in all layers, while ln1 was trained: they come from mmpretrain's DeiT3, which "
            "applies ln1 twice. To go on with its function, give the backbone type='mmmaskany.DeiT3', unused_ln2=True"
        )


@MODELS.register_module()
class DeiT3(HostDeiT3):
    """DeiT III as published (arXiv 2204.07118): equal to timm's ``deit3_*`` with the same weights.

    Parameters, names and arguments are those of :class:`mmpretrain.models.DeiT3`. Comparing with it,

    1. The feed-forward part of a layer takes what ``ln2`` normalised.
    2. LayerScale starts at 1e-4 instead of 1e-5.

    Args:
        *args: As for mmpretrain's.
        layer_scale (float): What LayerScale starts at. Defaults to 1e-4.
        unused_ln2 (bool): Whether to compute what mmpretrain 1.2.0 computes, for weights that it trained. ``ln2`` gets
            no gradient then, so a distributed training needs ``find_unused_parameters=True``. Defaults to False.
        **kwargs: As for mmpretrain's. ``layer_cfgs=dict(drop_path_rate=0.1)`` is the same drop path rate in every
            layer, as in the paper; ``drop_path_rate`` rises over the layers.

    Raises:
        CheckpointMismatchError: If weights are loaded that were trained without ``ln2``, see ``unused_ln2``.
    """

    def __init__(self, *args: Any, layer_scale: float = 1e-4, unused_ln2: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in self.modules():
            if isinstance(module, LayerScale):
                nn.init.constant_(module.weight, layer_scale)
        if not unused_ln2:
            _mend_layers(self)
