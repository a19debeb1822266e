# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Fusions of two feature maps of the same size.

Their learned parts are bare parameters: the hosts' ``init_weights`` re-initialises every convolution below it, which
would undo a fusion that was silenced, or started as the identity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmaskany.registry import MODELS


@MODELS.register_module()
class AddFusion(nn.Module):
    r"""Add: :math:`y = v + \gamma \odot r` (MaskAnyNet, arXiv 2511.12480; :math:`\gamma` = 1 in the paper).

    Args:
        channels (int): Channels of both inputs.
        scaled (bool): Whether to learn :math:`\gamma`, one scale per channel, started at 1. Without it the fusion
            has no parameters and cannot be silenced. Defaults to True.

    Shape:
        - visible, reused: ``(B, C, H, W)``.
        - output: ``(B, C, H, W)``.
    """

    #: The output is linear in both inputs, pixel by pixel, so that stems that are linear, too, can be merged.
    linear = True

    def __init__(self, channels: int, scaled: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels)) if scaled else None

    def forward(self, visible: Tensor, reused: Tensor) -> Tensor:
        return visible + reused if self.scale is None else _scaled_add(visible, self.scale, reused)

    def silence(self) -> None:
        """Let the output be the visible input, so that a plain checkpoint keeps its function."""
        if self.scale is None:
            raise ValueError('a plain addition cannot be silenced: give AddFusion scaled=True')
        nn.init.zeros_(self.scale)

    def is_silent(self) -> bool:
        """Tell whether the output is the visible input."""
        return self.scale is not None and not self.scale.any()

    def openness(self, visible: Tensor, reused: Tensor) -> Tensor:
        r"""Return how much of the reused input enters: the mean of :math:`|\gamma|`, 1 for the paper's addition."""
        return visible.new_ones(()) if self.scale is None else self.scale.abs().mean()


@MODELS.register_module()
class ConcatFusion(nn.Module):
    r"""Concatenate, then a 1 x 1 convolution: :math:`y = W [v; r]` (MaskAnyNet, arXiv 2511.12480).

    The weight starts as [identity, identity], which is the addition. The paper's MaskSwin has no convolution: there
    each stem has half the channels, and :math:`y = [v; r]`.

    Args:
        channels (int): Channels C of the output.
        projected (bool): Whether to learn the convolution. Without it the fusion has no parameters, cannot be
            silenced, and takes :attr:`stem_channels` = C / 2 channels of each stem, else C. Defaults to True.

    Shape:
        - visible, reused: ``(B, C, H, W)``; ``(B, C / 2, H, W)`` where not projected.
        - output: ``(B, C, H, W)``.

    Raises:
        ValueError: If an odd number of channels shall have two halves.
    """

    linear = True

    def __init__(self, channels: int, projected: bool = True) -> None:
        super().__init__()
        if not projected and channels % 2:
            raise ValueError(f'channels must be even to be two halves side by side, but got {channels}')
        self.stem_channels = channels if projected else channels // 2
        self.weight = nn.Parameter(torch.eye(channels).repeat(1, 2)[..., None, None]) if projected else None

    def forward(self, visible: Tensor, reused: Tensor) -> Tensor:
        both = torch.cat([visible, reused], dim=1)
        return both if self.weight is None else F.conv2d(both, self.weight)

    def silence(self) -> None:
        """Let the output be the visible input, so that a plain checkpoint keeps its function."""
        if self.weight is None:
            raise ValueError('a plain concatenation cannot be silenced: give ConcatFusion projected=True')
        with torch.no_grad():
            self.weight.zero_()
            nn.init.eye_(self.weight[:, : len(self.weight), 0, 0])

    def is_silent(self) -> bool:
        """Tell whether the output is the visible input."""
        return self.weight is not None and not self.weight[:, len(self.weight) :].any()

    def openness(self, visible: Tensor, reused: Tensor) -> Tensor:
        """Return how much of the reused input enters: the norm of its weights against that of the visible input's.

        It is 1 at the start, and where nothing is learned.
        """
        if self.weight is None:
            return visible.new_ones(())
        own, other = self.weight.chunk(2, dim=1)
        return other.norm() / own.norm()


@MODELS.register_module()
class GatedFusion(nn.Module):
    r"""Add through a gate that both inputs open: :math:`y = v + \gamma \odot \sigma(G [v; r] + b) \odot r`.

    Args:
        channels (int): Channels of both inputs.

    Shape:
        - visible, reused: ``(B, C, H, W)``.
        - output: ``(B, C, H, W)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.weight = nn.Parameter(torch.empty(channels, 2 * channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, visible: Tensor, reused: Tensor) -> Tensor:
        return _scaled_add(visible, self.scale, self._gate(visible, reused) * reused)

    def _gate(self, visible: Tensor, reused: Tensor) -> Tensor:
        return F.conv2d(torch.cat([visible, reused], dim=1), self.weight, self.bias).sigmoid()

    def silence(self) -> None:
        """Let the output be the visible input, so that a plain checkpoint keeps its function."""
        nn.init.zeros_(self.scale)

    def is_silent(self) -> bool:
        """Tell whether the output is the visible input."""
        return not self.scale.any()

    def openness(self, visible: Tensor, reused: Tensor) -> Tensor:
        r"""Return how much of the reused input enters: the mean of :math:`|\gamma| \odot \sigma(G [v; r] + b)`."""
        return (self.scale.abs().view(-1, 1, 1) * self._gate(visible, reused)).mean()


def _scaled_add(visible: Tensor, scale: Tensor, reused: Tensor) -> Tensor:
    return torch.addcmul(visible, scale.to(reused.dtype).view(-1, 1, 1), reused)


_FUSIONS = {'add': AddFusion, 'concat': ConcatFusion, 'gated': GatedFusion}


#: The paper's own fusions, which have no parameters.
_PAPER = {
    'add': dict(type='mmmaskany.AddFusion', scaled=False),
    'concat': dict(type='mmmaskany.ConcatFusion', projected=False),
}


def build_fusion(cfg: str | dict | nn.Module, channels: int, paper: bool = False) -> nn.Module:
    """Build a fusion.

    Args:
        cfg (str | dict | nn.Module): 'add', 'concat', 'gated', a config such as
            ``dict(type='mmmaskany.AddFusion', scaled=False)``, or a built fusion.
        channels (int): Channels of the output.
        paper (bool): Whether 'add' and 'concat' are the paper's, without parameters, for a network that builds its
            stems with the channels that the fusion takes. Defaults to False: both stems have ``channels``.

    Raises:
        ValueError: If the fusion is not known, or takes other channels than the stems have.
    """
    cfg = _PAPER.get(cfg, cfg) if paper and isinstance(cfg, str) else cfg
    fusion = _build(cfg, channels)
    if isinstance(cfg, dict) and cfg.get('channels', channels) != channels:
        raise ValueError(
            f'the fusion must return the {channels} channels that the backbone goes on with, but got '
            f'channels={cfg["channels"]}: leave it out'
        )
    if not paper and stem_channels(fusion, channels) != channels:
        raise ValueError(
            f'the fusion must take the {channels} channels that each of both stems has, but a concatenation without '
            f'projection takes {stem_channels(fusion, channels)}: leave out projected=False'
        )
    return fusion


def stem_channels(fusion: nn.Module, channels: int) -> int:
    """Return how many channels a fusion to so many channels takes of each stem."""
    return getattr(fusion, 'stem_channels', channels)


def _build(cfg: str | dict | nn.Module, channels: int) -> nn.Module:
    if isinstance(cfg, nn.Module):
        return cfg
    if isinstance(cfg, dict):
        name = str(cfg.get('type'))
        if name.removeprefix('mmmaskany.') in {fusion.__name__ for fusion in _FUSIONS.values()}:
            return MODELS.build({'channels': channels, **cfg})
    elif cfg in _FUSIONS:
        return _FUSIONS[cfg](channels)
    raise ValueError(
        f'fusion must be one of {list(_FUSIONS)}, or a config of type '
        f'{[f"mmmaskany.{fusion.__name__}" for fusion in _FUSIONS.values()]}, but got {cfg!r}'
    )
