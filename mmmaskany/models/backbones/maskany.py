# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskAny: a second stem, and masking, for a backbone of any of the hosts."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence

from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from torch import Tensor, nn

from mmmaskany.checkpoints.gaps import CheckpointMismatchError, find_gaps, new_norms
from mmmaskany.checkpoints.reading import place, unpack
from mmmaskany.checkpoints.starting import init_from_files
from mmmaskany.masking import half_size
from mmmaskany.registry import MODELS

from ..masking import build_masking
from ..stems import DualStem, build_fusion, find_stem
from ..stems.find import dry_run, halve_kernel


class MaskAnyMixin:
    """What a host backbone with a dual stem does beyond itself.

    1. It takes a batch, or a ready pair of visible and reused images. Of a batch it makes the pair: in training mode
       by :attr:`masking` where that is set, else the reused image is the batch at half size. Nothing is random in
       evaluation mode.
    2. It lays the reused image into the dual stem and runs the host's forward on the visible one.
    3. It freezes the reused stem wherever the host froze its own.
    4. It loads checkpoints completely or not at all. A checkpoint of the plain host is adopted: the reused stem takes
       the weights of the host's, but contributes exactly nothing, so that the outputs are the plain host's.
    """

    #: How the two images are fused: 'stem' or 'neck'.
    fuse_at = 'stem'
    #: Names of the host's modules that form its stem; the last one is the dual stem.
    stem_parts: tuple[str, ...] = ()
    #: Kernels of the reused stem that start as the host's at half size, by their names in it.
    halved: tuple[str, ...] = ()
    #: Whether a checkpoint was loaded.
    filled = False
    #: The masking of a batch in training mode, or None; without a value here, which would hide the module.
    masking: nn.Module | None

    @property
    def dual_stem(self) -> DualStem | None:
        """The dual stem, None with ``fuse_at='neck'``."""
        return self.get_submodule(self.stem_parts[-1]) if self.stem_parts else None

    def forward(self, inputs: Tensor | Sequence[Tensor], *args, **kwargs) -> tuple[Tensor, ...]:
        visible, reused = self.views(inputs)
        if self.fuse_at == 'neck':
            return (*super().forward(visible, *args, **kwargs), *super().forward(reused, *args, **kwargs))
        stem = self.dual_stem
        stem.reused_image = reused
        outputs = super().forward(visible, *args, **kwargs)
        stem.reused_image = None
        return outputs

    def views(self, inputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the pair of images that both stems see.

        Args:
            inputs (Tensor | Sequence[Tensor]): A batch ``(B, C, H, W)``, or the ready pair of it and the reused
                images ``(B, C, H / 2, W / 2)``, where an odd size may be rounded either way.

        Returns:
            tuple[Tensor, Tensor]: The visible and the reused images.

        Raises:
            ValueError: If the pair does not match.
        """
        if isinstance(inputs, Tensor):
            if self.training and self.masking is not None:
                return self.masking(inputs)[:2]
            return inputs, half_size(inputs)
        if len(inputs) != 2:
            raise ValueError(f'a backbone takes a batch, or a pair of visible and reused images, but got {len(inputs)}')
        visible, reused = inputs
        if visible.shape[:2] != reused.shape[:2] or any(
            abs(2 * small - large) > 1 for large, small in zip(visible.shape[2:], reused.shape[2:], strict=True)
        ):
            raise ValueError(
                f'the reused images of a pair must be the visible ones at half size, but got {tuple(reused.shape)} '
                f'beside {tuple(visible.shape)}'
            )
        return visible, reused

    # ------------------------------------------------------------------ freezing

    def train(self, mode: bool = True) -> MaskAnyMixin:
        super().train(mode)
        self.freeze_reused_stem()
        return self

    def freeze_reused_stem(self) -> bool:
        """Freeze the reused stem and the fusion, statistics too, where the host's own stem is frozen."""
        stem = self.dual_stem
        if stem is None:
            return False
        own = [parameter for part in self.stem_parts[:-1] for parameter in self.get_submodule(part).parameters()]
        own += stem.visible.parameters()
        frozen = bool(own) and not any(parameter.requires_grad for parameter in own)
        if frozen:
            for module in (stem.reused, stem.fusion):
                module.eval()
                module.requires_grad_(False)
        return frozen

    def warn_if_frozen(self) -> None:
        """Warn of a frozen stem that cannot learn what it is asked to."""
        if not self.freeze_reused_stem():
            return
        if self.masking is not None:
            trouble = 'masking is on, but the stem is frozen, so the reused stem cannot learn.'
        elif self.dual_stem.fusion.is_silent():
            trouble = 'the reused stem contributes nothing yet and is frozen, so it never will.'
        else:
            return
        text = f'{type(self).__name__}: {trouble} Set frozen_stages=-1 in the backbone to train it.'
        warnings.warn(text, stacklevel=3)
        print_log(text, logger='current', level=logging.WARNING)  # warnings are lost in what the hosts print

    # ------------------------------------------------------------------ checkpoints

    def init_weights(self) -> None:
        """Initialise as the host does; a checkpoint of ``init_cfg`` may be of any publisher, and must fill the host.

        Without a checkpoint the reused stem's kernels of patches are the host's at half size, as it has made them.
        """
        host = super()
        if not hasattr(host, 'init_weights'):
            return
        if getattr(self, 'is_init', False):
            host.init_weights()  # warns, and does nothing
            return
        init_from_files(self, host.init_weights)
        if not self.filled:
            for name in self.halved:
                kernel = halve_kernel(self.get_parameter(self._host_name(name)).detach())
                self.dual_stem.reused.get_parameter(name).data.copy_(kernel)

    @contextlib.contextmanager
    def as_plain(self) -> Iterator[None]:
        """Be the plain host for a moment, for what looks at names and shapes of a checkpoint of it."""
        dual = self.dual_stem
        if dual is None:
            yield
            return
        owner, _, name = self.stem_parts[-1].rpartition('.')
        setattr(self.get_submodule(owner), name, dual.visible)
        try:
            yield
        finally:
            setattr(self.get_submodule(owner), name, dual)

    def _host_name(self, name: str) -> str:
        """Return the name of the host's tensor that one of the reused stem is a twin of."""
        owner, dot, last = self.stem_parts[-1].rpartition('.')
        if len(self.stem_parts) == 1:  # the twin of a single module bears the names within it
            return f'{self.stem_parts[-1]}.visible.{name}'
        part, _, rest = name.partition('.')  # that of several repeats theirs
        return f'{owner}{dot}{part}.visible.{rest}' if part == last else f'{owner}{dot}{name}'

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        self._rename(state_dict, prefix)
        if prefix and not any(name.startswith(prefix) for name in state_dict):
            self._place(state_dict, prefix)
        # The host's own hooks come first: they resize position embeddings, and drop what they rebuild.
        check = self._register_load_state_dict_pre_hook(lambda tensors, name, *_: self._complete(tensors, name))
        try:
            super()._load_from_state_dict(state_dict, prefix, *args)
        finally:
            check.remove()

    def _rename(self, state_dict: dict, prefix: str) -> None:
        """Rename what mmpretrain's Swin of old releases called otherwise; it does so for its very class only."""
        hosts = [cls for cls in type(self).__mro__ if cls.__name__ == 'SwinTransformer']
        if hosts and hosts[0].__module__.startswith('mmpretrain.') and not hasattr(self, 'norm'):
            for key in [key for key in state_dict if key.startswith(f'{prefix}norm.')]:
                state_dict[f'{prefix}norm{len(self.stages) - 1}.{key.rpartition(".")[2]}'] = state_dict.pop(key)

    def _place(self, state_dict: dict, prefix: str) -> None:
        """Name what MMEngine's loader hands on as it is: a file of a publisher, for a model with this backbone."""
        if any(isinstance(value, dict | Tensor) for value in state_dict.values()):
            with contextlib.suppress(ValueError):  # the check that follows says what is missing
                placed = place(unpack(dict(state_dict)), self)
                state_dict.update({prefix + name: tensor for name, tensor in placed.items()})

    def _complete(self, state_dict: dict, prefix: str) -> None:
        """Check that the checkpoint fills the backbone, and make a plain one do so.

        ``state_dict`` is the loader's own copy of the checkpoint's dict, made to be changed by such a hook.
        """
        stem = self.stem_parts[-1] + '.' if self.stem_parts else ''
        added = (f'{stem}reused.', f'{stem}fusion.') if stem else ()
        own = self.state_dict()
        extra = [key for key in own if key.startswith(added)] if added else []
        plain = bool(extra) and not any(prefix + key in state_dict for key in extra)
        if plain:
            # In the plain host the dual stem's place is taken by the module that is now its visible part.
            inside = prefix + stem
            for key in [key for key in state_dict if key.startswith(inside)]:
                state_dict[f'{inside}visible.{key.removeprefix(inside)}'] = state_dict.pop(key)
        given = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        norms = new_norms(self, given)
        if norms:
            names = ', '.join(norm[:-1] for norm in norms)
            self._report(f'the checkpoint has no {names}: these output norms start anew.')
        optional = ('masking.', *norms, *(added if plain else ()))
        gaps = find_gaps(self, given, optional)
        if gaps:
            raise CheckpointMismatchError(
                f'the checkpoint does not fit the backbone {type(self).__name__}: it must fill all {gaps.wanted} '
                f'tensors and hold no other, but {gaps}. {_guess(given)}'
            )
        self.filled = True
        if plain:
            self._adopt(state_dict, prefix, extra)
            self._report(
                f'adopted a plain checkpoint, which fills all {gaps.wanted} tensors of the host; the reused stem '
                'starts from the weights of its stem and contributes nothing before it is trained.'
            )
            self.warn_if_frozen()
        else:
            self._report(f'the checkpoint fills all {gaps.wanted} tensors of the backbone.')

    def _report(self, text: str) -> None:
        print_log(f'{type(self).__name__}: {text}', logger='current', level=logging.INFO)

    def _adopt(self, state_dict: dict, prefix: str, extra: list[str]) -> None:
        """Fill the reused stem from the plain host's and silence it."""
        self.dual_stem.fusion.silence()
        own = self.state_dict()
        mark = f'{self.stem_parts[-1]}.reused.'
        for key in extra:
            value = own[key]
            if key.startswith(mark):
                source = state_dict.get(prefix + self._host_name(key.removeprefix(mark)))
                if source is not None and source.shape == value.shape:
                    value = source
                elif source is not None and source.shape == (*value.shape[:2], *(2 * side for side in value.shape[2:])):
                    value = halve_kernel(source)
            state_dict[prefix + key] = value


def _guess(names: Iterable[str]) -> str:
    """Guess from its tensors what kind of checkpoint was given instead."""
    if any(name.startswith('backbone.') for name in names):
        return "It is a whole model's: give init_cfg prefix='backbone.'"
    if any('.reused.' in name for name in names):
        return 'Its network has a second stem too, but differs in kind (MaskAny or MaskResNet), depth or width'
    return 'Is it a checkpoint of another architecture or depth?'


def _maskany_class(host: type) -> type:
    """Return the class of a host backbone with a dual stem; its name contains the host's."""
    if host not in _CLASSES:
        namespace = {
            '__doc__': f'{host.__name__} with a second stem; see :func:`MaskAny`.',
            # The class is made here and not found by its name, so copies and pickles name the host's instead.
            '__reduce__': lambda self: (_new, (host,), self.__dict__),
        }
        _CLASSES[host] = type(f'MaskAny{host.__name__}', (MaskAnyMixin, host), namespace)
    return _CLASSES[host]


_CLASSES: dict[type, type] = {}


def _new(host: type) -> nn.Module:
    cls = _maskany_class(host)
    return cls.__new__(cls)


@MODELS.register_module()
def MaskAny(
    backbone: dict | nn.Module,
    fusion: str | dict | nn.Module = 'add',
    masking: dict | nn.Module | None = None,
    fuse_at: str = 'stem',
    stem: str | None = None,
    init_cfg: dict | list | None = None,
) -> nn.Module:
    """Build a backbone and give it a second stem for the reused image.

    No wrapper is put around the host: its parameters keep their names, and its class is one that derives from the
    host's, so that frozen stages, layer-wise learning-rate decay, ``out_indices`` and whatever else the host has keep
    working. A checkpoint of the plain host loads by itself and gives the plain host's outputs.

    Source: MaskAnyNet, arXiv 2511.12480.

    Args:
        backbone (dict | nn.Module): The host, as a config whose type bears its prefix
            (``dict(type='mmpretrain.ResNet', depth=50)``) or built.
        fusion (str | dict | nn.Module): 'add', 'concat', 'gated' or a config. Defaults to 'add'.
        masking (dict | nn.Module | None): What masks a batch in training mode: ``dict(pattern=..., fill=...,
            reuse=True)``, the arguments of :class:`mmmaskany.masking.Masking`. None masks nothing: the reused image
            is the whole one at half size. Defaults to None.
        fuse_at (str): 'stem', the paper's, or 'neck': the host runs on both images with shared weights and returns
            its levels for the visible image, then those for the reused one, for :class:`MaskAnyNeck` (about a
            quarter more compute). Defaults to 'stem'.
        stem (str | None): Name of the module that is the host's stem, such as ``'features.0'``, for a host whose stem
            is not known; those of the families in docs/backbones.md are. Defaults to None.
        init_cfg (dict | list | None): Replaces the host's ``init_cfg``. Defaults to None.

    Returns:
        nn.Module: The host, of the class ``MaskAny<Host>``; see :class:`MaskAnyMixin` for what it takes and does.

    Raises:
        TypeError: If ``backbone`` or ``masking`` is neither a config nor a module.
        ValueError: If the stem is not found or cannot be halved, see :func:`find_stem`, if ``fusion`` or ``fuse_at`` is
            not known, or if the fusion takes another number of channels.

    Example:
        >>> import torch
        >>> model = MaskAny(dict(type='mmpretrain.ResNet', depth=18), masking=dict(
        ...     pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)))
        >>> [tuple(level.shape) for level in model(torch.rand(2, 3, 64, 64))]
        [(2, 512, 2, 2)]
    """
    if fuse_at not in ('stem', 'neck'):
        raise ValueError(f"fuse_at must be 'stem' or 'neck', but got {fuse_at!r}")
    if isinstance(backbone, dict):
        if '.' not in str(backbone.get('type')) and isinstance(backbone.get('type'), str):
            raise ValueError(
                f"the inner backbone must be written with its host's prefix, as 'mmpretrain.{backbone['type']}': "
                f'under another scope a bare {backbone["type"]!r} is another class'
            )
        host = MODELS.build(backbone)
    else:
        host = backbone
    if not isinstance(host, nn.Module):
        raise TypeError(f'backbone must be a config or a module, but got {type(backbone).__name__}')
    if isinstance(host, MaskAnyMixin):
        raise ValueError(f'{type(host).__name__} has a second stem already; give MaskAny the plain backbone')
    if init_cfg is not None:
        host.init_cfg = copy.deepcopy(init_cfg)
    if fuse_at == 'stem':
        found = find_stem(host, stem)
        owner, _, name = found.parts[-1].rpartition('.')
        fuse = build_fusion(fusion, found.channels)
        _check_fusion(fuse, found.channels)
        dual = DualStem(host.get_submodule(found.parts[-1]), found.twin, fuse, found.stride)
        if getattr(host, 'is_init', False):  # it has weights to keep, such as those of TIMMBackbone(pretrained=True)
            fuse.silence()
            print_log(
                f'{type(host).__name__} has its weights already: the reused stem starts from those of its stem and '
                'contributes nothing before it is trained.',
                logger='current',
                level=logging.INFO,
            )
        setattr(host.get_submodule(owner), name, dual)
        host.stem_parts, host.halved = found.parts, found.halved
    plain_drop_rates(host)
    host.fuse_at = fuse_at
    host.masking = as_masking(masking)
    host.__class__ = _maskany_class(type(host))
    host.warn_if_frozen()
    return host


def _check_fusion(fusion: nn.Module, channels: int) -> None:
    """Refuse a fusion that does not take and return what both stems return."""
    shape = (1, channels, 2, 2)
    try:
        got = f'returns {dry_run(fusion, shape, shape)[1]}'
    except ValueError as error:
        got = f'fails: {error}'
    if got != f'returns {channels}':
        raise ValueError(f'the fusion must take and return {channels} channels, as both stems do, but it {got}')


def plain_drop_rates(host: nn.Module) -> None:
    """Turn the drop path rates of a ViT into plain numbers: at the host's, which are NumPy's, torch.compile breaks."""
    for module in host.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)


def as_masking(masking: dict | nn.Module | None) -> nn.Module | None:
    """Build the masking of a backbone from its config; None and a built one are returned as they are."""
    if isinstance(masking, dict):
        return build_masking(**{key: value for key, value in masking.items() if key != 'type'})
    if masking is not None and not isinstance(masking, nn.Module):
        raise TypeError(f'masking must be a config dict(pattern=..., fill=...) or None, but got {masking!r}')
    return masking
