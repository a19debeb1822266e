# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a network costs: its parameters and multiply-accumulates."""

from __future__ import annotations

from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmmaskany.inference.samples import count_flops, draw_batch


def count(model: nn.Module, library: str, size: tuple[int, int]) -> dict[str, dict[str, int]]:
    """Count the parameters of a model, and its multiply-accumulates for one image.

    Args:
        model (nn.Module): A model of that library.
        library (str): 'mmpretrain', 'mmdet' or 'mmseg'.
        size (tuple[int, int]): Height and width of the image in px.

    Returns:
        dict[str, dict[str, int]]: ``parameters`` and ``macs`` of the ``backbone``, of the ``reused stem`` and fusion
            within it where it has them, and of the model in ``total``.
    """
    model = revert_sync_batchnorm(model).eval()
    stem = getattr(model.backbone, 'dual_stem', None)
    parts = {'backbone': [model.backbone], 'reused stem': [stem.reused, stem.fusion] if stem else [], 'total': [model]}
    rows = {
        name: dict(parameters=sum(p.numel() for part in modules for p in part.parameters()), macs=0)
        for name, modules in parts.items()
        if modules
    }

    def add(name: str, sign: int) -> None:
        rows[name]['macs'] += sign * counter.get_total_flops() // 2

    hooks = []
    for name in ('backbone', 'reused stem'):
        for part in parts[name]:
            hooks.append(part.register_forward_pre_hook(lambda *_, name=name: add(name, -1)))
            hooks.append(part.register_forward_hook(lambda *_, name=name: add(name, 1)))

    batch = draw_batch(model, library, 1, size)
    images, samples = batch['inputs'][0][None].float(), batch['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=size, pad_shape=size))
    with count_flops() as counter:
        if library == 'mmseg':
            model.encode_decode(images, [sample.metainfo for sample in samples])
        else:
            model(images, samples, mode='tensor')
    for hook in hooks:
        hook.remove()
    add('total', 1)
    return rows
