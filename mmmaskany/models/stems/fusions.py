# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Fusions of two feature maps of the same size.

Their learned parts are bare parameters: the hosts' ``init_weights`` re-initialises every convolution below it, which
would undo a fusion that was silenced, or started as the identity.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmaskany.builder import build_part
from mmmaskany.registry import MODELS


class Fusion(nn.Module):
    """Base of the fusions: a module called with the features of both images that returns them fused.

    A subclass has a constructor that takes ``channels``, and :meth:`forward`. To adopt the checkpoint of a plain
    network it has :meth:`silence` and :meth:`is_silent`, too: its learned part should then be a bare parameter, which
    no host initialises anew.

    Args:
        channels (int): Channels of the output, and of both inputs unless :attr:`stem_channels` is another number.

    Shape:
        - visible, reused: ``(B, stem_channels, H, W)``.
        - output: ``(B, C, H, W)``.
    """

    #: Channels that it takes of each input; None are those of the output.
    stem_channels: int | None = None
    #: Whether the output is linear in both inputs, pixel by pixel, so that stems that are linear, too, can be merged.
    linear = False

    def forward(self, visible: Tensor, reused: Tensor) -> Tensor:
        raise NotImplementedError(f'{type(self).__name__} must define `forward(visible, reused)`')

    def silence(self) -> None:
        """Let the output be the visible input, so that a plain checkpoint keeps its function.

        Raises:
            ValueError: If nothing that is learned could do so.
        """
        raise ValueError(f'{type(self).__name__} cannot be silenced, so it cannot adopt a plain checkpoint')

    def is_silent(self) -> bool:
        """Tell whether the output is the visible input."""
        return False

    def openness(self, visible: Tensor, reused: Tensor) -> Tensor:
        """Return how much of the reused input enters: 0 is nothing, 1 the addition.

        Unless a subclass knows better, the length of what it changes, against that of the reused input.
        """
        output = self(visible, reused)
        if output.shape != visible.shape:
            return visible.new_ones(())
        return (output - visible).norm() / reused.norm().clamp(min=1e-12)


@MODELS.register_module()
class AddFusion(Fusion):
    r"""Add: :math:`y = v + \gamma \odot r` (MaskAnyNet, arXiv 2511.12480; :math:`\gamma` = 1 in the paper).

    Args:
        channels (int): Channels of both inputs.
        scaled (bool): Whether to learn :math:`\gamma`, one scale per channel, started at 1. Without it the fusion
            has no parameters and cannot be silenced. Defaults to True.

    Shape:
        - visible, reused: ``(B, C, H, W)``.
        - output: ``(B, C, H, W)``.
    """

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
class ConcatFusion(Fusion):
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
class GatedFusion(Fusion):
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


def build_fusion(cfg: str | dict | nn.Module, channels: int, paper: bool = False) -> Fusion:
    """Build a fusion.

    Args:
        cfg (str | dict | nn.Module): 'add', 'concat', 'gated', a config such as
            ``dict(type='mmmaskany.AddFusion', scaled=False)``, or a built fusion; any class that is a :class:`Fusion`
            will do.
        channels (int): Channels of the output.
        paper (bool): Whether 'add' and 'concat' are the paper's, without parameters, for a network that builds its
            stems with the channels that the fusion takes. Defaults to False: both stems have ``channels``.

    Returns:
        Fusion: The fusion.

    Raises:
        TypeError: If it is no Fusion.
        ValueError: If it is not known, takes other channels than the stems have, does not return the features that it
            should, or says that it can be silenced but is not silent then.
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
    if type(fusion) not in _FUSIONS.values() or isinstance(cfg, nn.Module):  # ours are what they are asked to be
        _check(fusion, channels)
    return fusion


def stem_channels(fusion: Fusion, channels: int) -> int:
    """Return how many channels a fusion to so many channels takes of each stem."""
    return channels if fusion.stem_channels is None else fusion.stem_channels


def _build(cfg: str | dict | nn.Module, channels: int) -> Fusion:
    if isinstance(cfg, str) and cfg in _FUSIONS:
        return _FUSIONS[cfg](channels)
    if not isinstance(cfg, (dict, type, nn.Module)):
        raise ValueError(f'fusion must be one of {list(_FUSIONS)}, or the config of a Fusion, but got {cfg!r}')
    try:
        return build_part({'channels': channels, **cfg} if isinstance(cfg, dict) else cfg, (Fusion,), 'fusion')
    except KeyError as error:
        raise ValueError(f'fusion must be one of {list(_FUSIONS)}, or a config whose {error.args[0]}') from error


def _check(fusion: Fusion, channels: int) -> None:
    """Refuse a fusion that does not do what is said of it."""
    if any(tensor.is_meta for tensor in fusion.parameters()):
        return
    name, own = type(fusion).__name__, stem_channels(fusion, channels)
    fusion = copy.deepcopy(fusion).to('cpu', torch.float32).eval()
    visible, reused = torch.rand(2, 2, own, 3, 5, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.no_grad():
        try:
            output = fusion(visible, reused)
        except Exception as error:  # whatever a module of the user's may raise
            raise ValueError(
                f'the fusion must take visible and reused features of {own} channels, but {name} fails: {error}'
            ) from error
        wanted = (2, channels, 3, 5)
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if got != wanted:
            raise ValueError(
                f'the fusion must return {channels} channels in the size of both inputs, {wanted} of '
                f'{tuple(visible.shape)}, but {name} returns {got}'
            )
        try:
            fusion.silence()
        except ValueError:  # it cannot adopt a plain checkpoint, which is said when there is one
            return
        if not fusion.is_silent() or not torch.equal(fusion(visible, reused), visible):
            raise ValueError(
                f'after silence() a fusion must return the visible features as they are, and is_silent() True, but '
                f'{name} does not'
            )
