# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskAny: a second stem, and masking, for a backbone of mmpretrain, mmdet or mmseg."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from torch import Tensor, nn

from mmmaskany.checkpoints.format import EXTRA_STATE
from mmmaskany.checkpoints.mismatch import CheckpointMismatchError, find_mismatch, new_norms
from mmmaskany.checkpoints.reading import place, unpack
from mmmaskany.checkpoints.starting import init_from_files
from mmmaskany.masking import Draw, Masking, Views, half_size
from mmmaskany.masking.patterns import guided
from mmmaskany.registry import MODELS

from ..algebra import build_masking
from ..host import Host
from ..stems import DualStem, Fusion, build_fusion, find_stem
from ..stems.find import halve_kernel
from .deit3 import mend
from .levels import BranchLevels, Layout, build_level_fusions, find_layouts, flat_levels, fuse_level, map_levels

#: Where the two images can be fused.
FUSE_AT = ('stem', 'levels', 'neck')


class MaskAnyMixin(Host):
    """What a host backbone with a dual stem does beyond itself.

    1. It takes a batch, or :class:`mmmaskany.masking.Views`, the ready pair of visible and reused images. Of a batch it
       makes the pair: in training mode by :attr:`masking` where that is set, else the reused image is the batch at
       half size. Nothing is random in evaluation mode.
    2. It lays the reused image into the dual stem and runs the host's forward on the visible one. With late fusion it
       runs the host on both, and fuses the levels (``fuse_at='levels'``) or hands on both (``fuse_at='neck'``).
    3. It freezes the reused stem wherever the host froze its own, and with ``frozen=True`` all of itself.
    4. It loads checkpoints completely or not at all. A checkpoint of the plain host is adopted: the reused stem takes
       the weights of the host's, but contributes exactly nothing, as the levels of the reused image do in late
       fusion, so that the outputs are the plain host's.
    """

    #: Where the two images are fused, one of :data:`FUSE_AT`.
    fuse_at = 'stem'
    #: How the features of each level lie, with ``fuse_at='levels'``.
    level_layouts: Sequence[Layout] = ()
    #: Names of the host's modules that form its stem; the last one is the dual stem.
    stem_parts: tuple[str, ...] = ()
    #: Kernels of the reused stem that start as the host's at half size, by their names in it.
    halved: tuple[str, ...] = ()
    #: Whether a checkpoint was loaded.
    filled = False
    #: Whether nothing of it learns, see :meth:`freeze`.
    frozen = False
    #: The masking of a batch in training mode, or None; without a value here, which would hide the module.
    masking: nn.Module | None

    @property
    def dual_stem(self) -> DualStem | None:
        """The dual stem, None with late fusion."""
        return self.get_submodule(self.stem_parts[-1]) if self.stem_parts else None

    @property
    def fusions(self) -> list[Fusion]:
        """The fusion of the dual stem, or of each level; ``fuse_at='neck'`` leaves them to the neck."""
        stem = self.dual_stem
        return list(getattr(self, 'level_fusions', ())) if stem is None else [stem.fusion]

    def forward(self, images: Tensor | Views, *args: Any, **kwargs: Any) -> Any:
        """Run the host on the visible image and fuse the reused one in.

        Args:
            images (Tensor | Views): See :meth:`views`.
            *args: What else the host's forward takes.
            **kwargs: What else the host's forward takes, and ``draw``, see :meth:`views`: not in the signature, because
                PyTorch's ONNX exporter would hand it on by its position.

        Returns:
            What the host returns, a tuple of levels as a rule; :class:`BranchLevels` with ``fuse_at='neck'``.
        """
        visible, reused, draw = self.views(images, kwargs.pop('draw', None))
        if self.fuse_at == 'stem':
            stem = self.dual_stem
            assert stem is not None
            with stem.holding(reused, draw):
                return super().forward(visible, *args, **kwargs)
        check_alignable(draw, self.fuse_at)
        levels = super().forward(visible, *args, **kwargs)
        try:
            others = super().forward(reused, *args, **kwargs)
        except (AssertionError, RuntimeError) as error:
            # Windows and strides that fit the image need not fit its half.
            raise RuntimeError(
                f'late fusion runs {type(self).__name__} on the reused image, too, but at half the size, '
                f"{tuple(reused.shape[2:])} px, it fails: {error}. Take larger images, or fuse_at='stem'"
            ) from error
        if self.fuse_at == 'neck':
            return BranchLevels(*(each if isinstance(each, (tuple, list)) else [each] for each in (levels, others)))
        return self._fuse(levels, others, (visible.shape[2:], reused.shape[2:]))

    def _fuse(self, visible: object, reused: object, sizes: Sequence[tuple[int, ...]]) -> object:
        """Fuse the levels of both images, one by one."""
        count = len(list(flat_levels(visible)))
        if count != len(self.level_fusions):
            raise ValueError(
                f'{type(self).__name__} was built to return {len(self.level_fusions)} level(s), but returns {count}: '
                'give out_indices when it is built'
            )
        parts = iter(zip(self.level_fusions, self.level_layouts, strict=True))

        def fuse(own: Tensor, other: Tensor) -> Tensor:
            fusion, layout = next(parts)
            return fuse_level(fusion, layout, own, other, sizes)

        return map_levels(fuse, visible, reused)

    def views(self, images: Tensor | Views, draw: Draw | None = None) -> Views:
        """Return the pair of images that the network sees.

        Args:
            images (Tensor | Views): A batch ``(B, C, H, W)``, or the ready pair of it and the reused images
                ``(B, C, H / 2, W / 2)``, where an odd size may be rounded either way.
            draw (Draw | None): Masks a batch by an earlier draw, in evaluation mode, too. None draws anew in training
                mode. Defaults to None.

        Returns:
            Views: The visible and the reused images, and the draw they were made with.

        Raises:
            TypeError: If ``images`` or ``draw`` is something else: two batches in a list or tuple are no pair.
            ValueError: If the pair does not match, or the draw cannot be replayed: it was made for another size or
                number of images, or there is no ``masking`` or a ready pair.
        """
        if draw is not None:
            return self._replayed(images, draw)
        if isinstance(images, Tensor):
            if self.training and self.masking is not None:
                return self.masking(images)
            return Views(images, half_size(images))
        if not isinstance(images, Views):
            what = f'a {type(images).__name__}' + (f' of {len(images)}' if isinstance(images, (tuple, list)) else '')
            raise TypeError(
                'a backbone takes a batch (B, C, H, W), or a ready pair as mmmaskany.masking.Views(visible, reused), '
                f'but got {what}'
            )
        visible, reused, _ = images
        if visible.shape[:2] != reused.shape[:2] or any(
            abs(2 * small - large) > 1 for large, small in zip(visible.shape[2:], reused.shape[2:], strict=True)
        ):
            raise ValueError(
                f'the reused images of a pair must be the visible ones at half size, but got {tuple(reused.shape)} '
                f'beside {tuple(visible.shape)}'
            )
        return images

    def _replayed(self, images: Tensor | Views, draw: Draw) -> Views:
        if not isinstance(draw, Draw):
            raise TypeError(f'draw must be a mmmaskany.masking.Draw, but got {type(draw).__name__}')
        if not isinstance(images, Tensor):
            raise ValueError(f'draw masks a batch (B, C, H, W), but got {type(images).__name__}, masked already')
        if self.masking is None:
            raise ValueError(
                f'draw needs a masking, which says what stays and what is reused, but {type(self).__name__} has '
                'masking=None: give masking=dict(pattern=..., fill=...)'
            )
        return self.masking(images, draw)

    # ------------------------------------------------------------------ freezing

    def train(self, mode: bool = True) -> MaskAnyMixin:
        super().train(mode)
        self.freeze_reused_stem()
        if self.frozen:
            for module in self.children():
                nn.Module.train(module, False)
        return self

    def freeze(self) -> None:
        """Freeze all of it for good, so that only what follows it learns, such as a head: weights, both stems and their
        fusion, statistics of norms, dropout and drop path. Images are still masked in training mode.
        """
        self.frozen = True
        self.requires_grad_(False)
        self.train(self.training)

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
        """Warn of a frozen stem that cannot learn what it is asked to, unless nothing of the backbone is to learn."""
        if not self.freeze_reused_stem() or self.frozen:
            return
        if self.masking is not None:
            trouble = 'masking is on, but the stem is frozen, so the reused stem cannot learn.'
        elif all(fusion.is_silent() for fusion in self.fusions):
            trouble = 'the reused stem contributes nothing yet and is frozen, so it never will.'
        else:
            return
        text = f'{type(self).__name__}: {trouble} Set frozen_stages=-1 in the backbone to train it.'
        warnings.warn(text, stacklevel=3)
        print_log(text, logger='current', level=logging.WARNING)  # warnings are lost in what the libraries print

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
        stem = self.dual_stem
        if stem is not None and not self.filled:
            for name in self.halved:
                kernel = halve_kernel(self.get_parameter(self._host_name(name)).detach())
                stem.reused.get_parameter(name).data.copy_(kernel)

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
        """Return the name of the host's tensor that one of the reused stem is a copy of."""
        owner, dot, last = self.stem_parts[-1].rpartition('.')
        if len(self.stem_parts) == 1:  # the copy of a single module bears the names within it
            return f'{self.stem_parts[-1]}.visible.{name}'
        part, _, rest = name.partition('.')  # that of several repeats theirs
        return f'{owner}{dot}{part}.visible.{rest}' if part == last else f'{owner}{dot}{name}'

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
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
        added = (f'{stem}reused.', f'{stem}fusion.') if stem else ('level_fusions.',)
        own = self.state_dict()
        extra = [key for key in own if key.startswith(added)]
        plain = bool(extra) and not any(prefix + key in state_dict for key in extra)
        if extra and not stem and not plain and self._has_other_levels(state_dict, prefix):
            plain = True
            self._report('the checkpoint fuses other levels: these fusions start anew.', logging.WARNING)
        if plain and stem:
            # In the plain host the dual stem's place is taken by the module that is now its visible part.
            inside = prefix + stem
            for key in [key for key in state_dict if key.startswith(inside)]:
                state_dict[f'{inside}visible.{key.removeprefix(inside)}'] = state_dict.pop(key)
        if plain:
            for key in (key for key in own if key.endswith(EXTRA_STATE)):
                state_dict.setdefault(prefix + key, own[key])  # never trained with an older function of ours
        given = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        norms = new_norms(self, given)
        if norms:
            names = ', '.join(norm[:-1] for norm in norms)
            self._report(f'the checkpoint has no {names}: these output norms start anew.')
        optional = ('masking.', *norms, *(added if plain else ()))
        mismatch = find_mismatch(self, given, optional)
        if mismatch:
            raise CheckpointMismatchError(
                f'the checkpoint does not fit the backbone {type(self).__name__}: it must fill all {mismatch.wanted} '
                f'tensors and hold no other, but {mismatch}. {_guess(given)}'
            )
        self.filled = True
        if plain:
            self._adopt(state_dict, prefix, extra)
            self._report(
                f'adopted a plain checkpoint, which fills all {mismatch.wanted} tensors of the host; '
                + (
                    'the reused stem starts from the weights of its stem and contributes'
                    if stem
                    else 'the levels of the reused image contribute'
                )
                + ' nothing before it is trained.'
            )
            self.warn_if_frozen()
        else:
            self._report(f'the checkpoint fills all {mismatch.wanted} tensors of the backbone.')

    def _has_other_levels(self, given: Iterable[str], prefix: str) -> bool:
        """Tell whether a checkpoint with late fusion has more or fewer levels, as a classifier beside a detector."""
        mark = f'{prefix}level_fusions.'
        levels = {key.removeprefix(mark).partition('.')[0] for key in given if key.startswith(mark)}
        return len(levels) != len(self.level_fusions)

    def _report(self, text: str, level: int = logging.INFO) -> None:
        print_log(f'{type(self).__name__}: {text}', logger='current', level=level)

    def _adopt(self, state_dict: dict, prefix: str, extra: list[str]) -> None:
        """Fill the reused stem from the plain host's, and silence what is fused."""
        for fusion in self.fusions:
            fusion.silence()
        own = self.state_dict()
        mark = f'{self.stem_parts[-1]}.reused.' if self.stem_parts else None
        for key in extra:
            value = own[key]
            if mark and key.startswith(mark):
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


def _maskany_class(host: type) -> type[MaskAnyMixin]:
    """Return the class of a host backbone with a dual stem; its name contains the host's."""
    if host not in _CLASSES:
        namespace = {
            '__doc__': f'{host.__name__} with a second stem; see :func:`MaskAny`.',
            # The class is made here and not found by its name, so copies and pickles name the host's instead.
            '__reduce__': lambda self: (_new, (host,), self.__dict__),
            **{name: _entry(getattr(host, name)) for name in _ENTRIES if hasattr(host, name)},
        }
        if issubclass(host, nn.ModuleDict):  # a pyramid that runs all its modules in turn: the masking is none of them
            namespace['items'] = lambda self: [item for item in self._modules.items() if item[0] != 'masking']
        if hasattr(host, 'get_layer_depth'):
            namespace['get_layer_depth'] = _layer_depth(host.get_layer_depth)
        _CLASSES[host] = type(f'MaskAny{host.__name__}', (MaskAnyMixin, host), namespace)
    return _CLASSES[host]


_CLASSES: dict[type, type[MaskAnyMixin]] = {}
#: Where networks of timm take images, beside their forward.
_ENTRIES = ('forward_features', 'forward_intermediates', 'get_intermediate_layers')


def _entry(method: Callable) -> Callable:
    """Let a method of the host that takes images see both, as its forward does."""

    @functools.wraps(method)
    def enter(self: MaskAnyMixin, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        stem = self.dual_stem
        if stem is None or stem.reused_image is not None:  # called by another one
            return method(self, inputs, *args, **kwargs)
        visible, reused, draw = self.views(inputs)
        with stem.holding(reused, draw):
            return method(self, visible, *args, **kwargs)

    return enter


def _layer_depth(method: Callable) -> Callable:
    """Let the host's method for rates that decay with depth know that levels are fused at the end."""

    def get_layer_depth(self: nn.Module, param_name: str, prefix: str = '') -> tuple[int, int]:
        depth, layers = method(self, param_name, prefix)
        return (layers - 1 if param_name.startswith(f'{prefix}level_fusions.') else depth), layers

    return get_layer_depth


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
    frozen: bool = False,
    pretrained: None = None,
) -> nn.Module:
    """Build a backbone and give it a second stem for the reused image.

    No wrapper is put around the host: its parameters keep their names, and its class is one that derives from the
    host's, so that frozen stages, layer-wise learning-rate decay, ``out_indices`` and whatever else the host has keep
    working. A checkpoint of the plain host loads by itself and gives the plain host's outputs.

    Source: MaskAnyNet, arXiv 2511.12480.

    Args:
        backbone (dict | nn.Module): The host, as a config whose type bears its library's prefix
            (``dict(type='mmpretrain.ResNet', depth=50)``) or built.
        fusion (str | dict | nn.Module): 'add', 'concat', 'gated' or a config. Defaults to 'add'.
        masking (dict | nn.Module | None): What masks a batch in training mode: ``dict(pattern=..., fill=...,
            reuse=True)``, the arguments of :class:`mmmaskany.masking.Masking`. None masks nothing: the reused image
            is the whole one at half size. Defaults to None.
        fuse_at (str): 'stem', the paper's; 'levels': the host runs on both images with shared weights (about a quarter
            more compute), and what it returns for the reused one is brought to the size of the visible one's and
            fused level by level, so that the backbone returns what its host does; or 'neck': it returns the levels of
            both images for :class:`.MaskAnyNeck`, for losses on each branch. Defaults to 'stem'.
        stem (str | None): Name of the module that is the host's stem, such as ``'features.0'``, for a host whose stem
            is not known; those of the families in docs/backbones.md are. Defaults to None.
        init_cfg (dict | list | None): Replaces the host's ``init_cfg``. Defaults to None.
        frozen (bool): Whether to train the head alone, see :meth:`MaskAnyMixin.freeze`. Defaults to False.
        pretrained (None): What a config of mmseg hands on; ``init_cfg`` takes its place. Defaults to None.

    Returns:
        nn.Module: The host, of the class ``MaskAny<Host>``; see :class:`MaskAnyMixin` for what it takes and does.

    Raises:
        TypeError: If ``backbone`` or ``masking`` is neither a config nor a module.
        ValueError: If the stem is not found or cannot be halved, see :func:`find_stem`, if ``fusion`` or ``fuse_at`` is
            not known, if the fusion takes another number of channels, if the levels cannot be fused, see
            :func:`find_layouts`, or if the masking has ``reuse='aligned'`` with late fusion.

    Example:
        >>> import torch
        >>> model = MaskAny(dict(type='mmpretrain.ResNet', depth=18), masking=dict(
        ...     pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)))
        >>> [tuple(level.shape) for level in model(torch.rand(2, 3, 64, 64))]
        [(2, 512, 2, 2)]
    """
    if pretrained is not None:
        raise ValueError(
            f'pretrained must be None, but got {pretrained!r}: write pretrained=None beside backbone= in a model of '
            "mmseg, and init_cfg=dict(type='Pretrained', checkpoint=FILE) into the backbone"
        )
    if fuse_at not in FUSE_AT:
        raise ValueError(f'fuse_at must be one of {FUSE_AT}, but got {fuse_at!r}')
    host = _build_host(backbone)
    mend(host)
    if init_cfg is not None:
        host.init_cfg = copy.deepcopy(init_cfg)
    plain_drop_rates(host)
    masking = as_masking(masking, fuse_at)
    if fuse_at == 'stem':
        found = find_stem(host, stem)
        owner, _, name = found.parts[-1].rpartition('.')
        fuse = build_fusion(fusion, found.channels)
        dual = DualStem(host.get_submodule(found.parts[-1]), found.reused, fuse, found.stride)
        setattr(host.get_submodule(owner), name, dual)
        host.stem_parts, host.halved = found.parts, found.halved
    elif fuse_at == 'levels':
        host.level_layouts = find_layouts(host)
        host.level_fusions = build_level_fusions(fusion, [layout.channels for layout in host.level_layouts])
    host.fuse_at = fuse_at
    host.masking = masking
    host.__class__ = _maskany_class(type(host))
    if getattr(host, 'is_init', False) and host.fusions:  # weights to keep, as of TIMMBackbone(pretrained=True)
        for each in host.fusions:
            each.silence()
        what = 'reused stem starts from those of its stem and contributes' if fuse_at == 'stem' else 'levels contribute'
        host._report(f'the host has its weights already: the {what} nothing before it is trained.')
    if frozen:
        host.freeze()
    host.warn_if_frozen()
    return host


def _build_host(backbone: dict | nn.Module) -> Host:
    """Return the plain backbone, built."""
    if isinstance(backbone, dict):
        if '.' not in str(backbone.get('type')) and isinstance(backbone.get('type'), str):
            raise ValueError(
                f"the inner backbone must be written with its library's prefix, as 'mmpretrain.{backbone['type']}': "
                f'under another scope a bare {backbone["type"]!r} is another class'
            )
        host = MODELS.build(backbone)
    else:
        host = backbone
    if not isinstance(host, nn.Module):
        raise TypeError(f'backbone must be a config or a module, but got {type(backbone).__name__}')
    if isinstance(host, MaskAnyMixin):
        raise ValueError(f'{type(host).__name__} has a second stem already; give MaskAny the plain backbone')
    return host


def plain_drop_rates(host: nn.Module) -> None:
    """Turn the drop path rates of a ViT into plain numbers: at the host's, which are NumPy's, torch.compile breaks."""
    for module in host.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)


def as_masking(masking: dict | nn.Module | None, fuse_at: str = 'stem') -> nn.Module | None:
    """Build the masking of a backbone from its config; None and a built one are returned as they are.

    Raises:
        TypeError: If it is none.
        ValueError: If its pattern is guided by what a backbone does not know, or its ``reuse`` does not go with
            ``fuse_at``.
    """
    if masking is not None and not isinstance(masking, (dict, nn.Module)):
        raise TypeError(f'masking must be a config dict(pattern=..., fill=...) or None, but got {masking!r}')
    built = build_masking(masking)
    for pattern in guided(built.pattern) if isinstance(built, Masking) else ():
        raise ValueError(
            f'{type(pattern).__name__} is guided by {pattern.guide}, of which a backbone knows nothing: take it in '
            + ('MaskedDetector or MaskedSegmentor' if pattern.guide == 'objects' else 'sub_masking of MaskSub')
        )
    check_alignable(built, fuse_at)
    return built


def check_alignable(masked: Masking | Draw | None, fuse_at: str) -> None:
    """Make sure that features which are to be put back are those of a second stem.

    Args:
        masked (Masking | Draw | None): What masks, or did.
        fuse_at (str): Where the images are fused, one of :data:`FUSE_AT`.

    Raises:
        ValueError: If they are not.
    """
    aligned = getattr(masked, 'reuse', None) == 'aligned' or getattr(masked, 'aligned', False)
    if aligned and fuse_at != 'stem':
        raise ValueError(
            "reuse='aligned' puts the features of a second stem back where their cells came from, but with "
            f'fuse_at={fuse_at!r} the host runs on the whole stitched image, whose deeper features are of many cells '
            "at once: take fuse_at='stem', or reuse=True or 'in_place'"
        )
