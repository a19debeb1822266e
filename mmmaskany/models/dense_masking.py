# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Detectors and segmentors that know what is masked: they mask their images themselves, and mind it in their losses."""

from __future__ import annotations

from typing import TypeVar, cast

from torch import Tensor

from mmmaskany.builder import check_kind
from mmmaskany.masking import Draw, Masking, Views, check_pattern
from mmmaskany.registry import MODELS

from .algebra import build_masking
from .backbones import MaskAnyMixin
from .backbones.maskany import check_alignable
from .guides import find_guided
from .host import Host

Mixin = TypeVar('Mixin', bound=Host)


class DenseMaskingMixin(Host):
    """A detector or segmentor that masks the images of a training step, before its backbone sees them."""

    masking: Masking

    def set_masking(self, masking: dict | Masking | None) -> None:
        """Give a built model its masking.

        Args:
            masking (dict | Masking | None): The masking, as of :func:`.MaskAny`; None is refused.

        Raises:
            TypeError: If it is none.
            ValueError: If its pattern asks for other scores than those of objects, or the backbone has a masking of
                its own, cannot see what is reused or cannot put it back.
        """
        if not isinstance(masking, (dict, Masking)):
            raise TypeError(
                'masking must be a config dict(pattern=..., fill=..., reuse=...), which says what of the images is '
                f"hidden in training, but got {masking!r}: give one, such as dict(pattern=dict(type='mmmaskany."
                "RandomPattern', ratio=0.5), reuse=False), or take the host's own type, which masks nothing"
            )
        self.masking = build_masking(masking)
        check_pattern(self.masking.pattern)
        self.guided = find_guided(self.masking.pattern, ('objects',))
        backbone, name = self.backbone, type(self.backbone).__name__
        if getattr(backbone, 'masking', None) is not None:
            raise ValueError(
                f'images are masked once, by masking of the {type(self).__name__}, but {name} has a masking of its '
                'own: take masking=None there'
            )
        if self.masking.reuse and not isinstance(backbone, MaskAnyMixin):
            raise ValueError(
                f'reuse={self.masking.reuse!r} needs a backbone that sees the reused image, as MaskAny is, but got '
                f'{name}: take reuse=False'
            )
        check_alignable(self.masking, getattr(backbone, 'fuse_at', 'stem'))

    def see(self, images: Tensor, draw: Draw) -> Tensor | Views:
        """Return what the backbone sees of images that are masked by a draw."""
        views = self.masking(images, draw)
        return views if isinstance(self.backbone, MaskAnyMixin) else views.visible


def build_masked(host: str | type | None, mixin: type[Mixin], base: type, args: dict, prefix: str = 'Masked') -> Mixin:
    """Build a host and make it one of ours, under its own name and with its own names of weights.

    As for backbones, see :func:`.MaskAny`, nothing is put around it.

    Args:
        host (str | type | None): The host's class, or its type in configs; None is refused.
        mixin (type[Mixin]): What it is to do beside.
        base (type): What it must be.
        args (dict): Its arguments.
        prefix (str): What the name of its class begins with. Defaults to 'Masked'.

    Returns:
        Mixin: The model; its class is derived from the mixin and the host's.

    Raises:
        KeyError: If the host is not known.
        TypeError: If the host is none such.
    """
    if not isinstance(host, (str, type)):
        example = 'mmseg.EncoderDecoder' if base.__name__ == 'EncoderDecoder' else 'mmdet.FasterRCNN'
        raise TypeError(
            f'host must be the type of the {base.__name__} to build, as configs have it, but got {host!r}: give one, '
            f'such as host={example!r}'
        )
    check_kind(dict(type=host), (base,), 'host')
    model = MODELS.build(dict(args, type=host))
    if not isinstance(model, base):
        raise TypeError(f'host must be a {base.__name__}, but got {type(model).__name__}')
    kind = type(model)
    model.__class__ = _CLASSES.setdefault((mixin, kind), type(f'{prefix}{kind.__name__}', (mixin, kind), {}))
    return cast(Mixin, model)


_CLASSES: dict[tuple[type, type], type] = {}
