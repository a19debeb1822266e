# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A second stem for a network that is built already, in a training loop of one's own."""

from __future__ import annotations

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from ..host import Host
from .maskany import MaskAny


def wrap(
    model: nn.Module,
    masking: dict | nn.Module | None = None,
    fusion: str | dict | nn.Module = 'add',
    stem: str | None = None,
) -> nn.Module:
    """Give a built network of timm, torchvision or OpenMMLab a second stem, in place.

    The network stays itself: its class derives from what it was, its forward, ``forward_features``,
    ``get_classifier`` and parameter names stay (a stem that is one module gets ``.visible`` inside its name), and a
    plain checkpoint still loads. The reused stem starts from the weights of the network's own and contributes
    nothing, so the outputs are what they were, to the last bit; training opens it. Images are masked in training mode
    only. Make the optimiser afterwards, for there are new parameters; :func:`mmmaskany.merge_stems` gives the plain
    network back where that is possible.

    Args:
        model (nn.Module): A network that takes a batch of images ``(B, C, H, W)``. Of a classifier, detector or
            segmentor of OpenMMLab, its backbone is changed.
        masking (dict | nn.Module | None): A :class:`mmmaskany.masking.Masking`, such as
            ``Masking(GridPattern(scale=0.5, cell=16))``, or its arguments as a config. None masks nothing.
            Defaults to None.
        fusion (str | dict | nn.Module): 'add', 'concat', 'gated' or a fusion. Defaults to 'add'.
        stem (str | None): Name of the module that is the stem, such as ``'features.0'``, where it is not known.
            Defaults to None.

    Returns:
        nn.Module: ``model`` itself.

    Raises:
        TypeError: If ``model`` is no module, or was compiled or scripted.
        ValueError: If its stem is not found or cannot be halved, if it has a second stem already, or if the fusion
            cannot be silent.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = wrap(resnet18())
        >>> type(model).__name__, tuple(model.eval()(torch.rand(1, 3, 64, 64)).shape)
        ('MaskAnyResNet', (1, 1000))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'wrap takes a built network, but got {type(model).__name__}')
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, '_orig_mod'):
        raise TypeError(f'wrap takes a network before it is compiled or scripted, but got {type(model).__name__}')
    if is_model_wrapper(model) or isinstance(model, nn.DataParallel):
        raise TypeError(f'wrap takes the network within {type(model).__name__}: give it model.module')
    backbone = getattr(model, 'backbone', None)
    if hasattr(model, 'data_preprocessor') and isinstance(backbone, nn.Module):
        wrap(backbone, masking, fusion, stem)  # a whole model of OpenMMLab
        return model
    training = model.training
    wrapped: Host = MaskAny(model, fusion=fusion, masking=masking, stem=stem)
    wrapped.dual_stem.fusion.silence()
    first = next(wrapped.dual_stem.visible.parameters(), next(wrapped.parameters()))
    wrapped.dual_stem.to(first)  # where, and in which precision, the network is
    wrapped.train(training)
    return wrapped
