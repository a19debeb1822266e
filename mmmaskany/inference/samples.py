# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Drawn images with labels, and what is counted: for what is measured about models of any library without data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

#: Size of the images where none is asked for: height and width in px.
SIZES = {'mmpretrain': (224, 224), 'mmdet': (800, 1344), 'mmseg': (512, 512)}


def image_size(cfg: Config) -> tuple[int, int]:
    """Return the size of the images that a network is tested with: of the last crop or resize, or its library's usual.

    Where a resize keeps the proportions of the images, a segmentor's are taken as squares of the shorter side, a
    detector's as the largest that fit, padded.

    Args:
        cfg (Config): The config of its training or test.

    Returns:
        tuple[int, int]: Height and width in px.
    """
    library = cfg.get('default_scope')
    pipelines = [_pipeline(cfg, name) for name in ('test', 'val')]
    size = None
    for step in next(filter(None, pipelines), ()):
        found = step.get('crop_size') or step.get('scale')
        if isinstance(found, int):
            size = (found, found)
        elif isinstance(found, list | tuple) and len(found) == 2:
            size = (found[0], found[1]) if 'crop_size' in step else (found[1], found[0])  # a scale is width, height
            if step.get('keep_ratio'):
                size = (min(size),) * 2 if library == 'mmseg' else tuple(-(-side // 32) * 32 for side in size)
    if size is None:  # images that are used as they are: as large as the crops of the training
        crops = [step['crop_size'] for step in _pipeline(cfg, 'train') if isinstance(step.get('crop_size'), int)]
        size = (crops[-1], crops[-1]) if crops else None
    return size or SIZES[library]


def _pipeline(cfg: Config, split: str) -> list[dict]:
    """Return the steps of a split's data, within any wrappers."""
    node = cfg.get(f'{split}_dataloader') or {}
    while 'dataset' in node:
        node = node['dataset']
    return node.get('pipeline') or []


def draw_batch(model: nn.Module, library: str, count: int, size: tuple[int, int]) -> dict:
    """Draw images with labels, as the library's data loader would give them.

    Args:
        model (nn.Module): A model of that library.
        library (str): 'mmpretrain', 'mmdet' or 'mmseg'.
        count (int): Number of images.
        size (tuple[int, int]): Their height and width in px.

    Returns:
        dict: What the model's ``train_step`` and ``test_step`` take; to a self-supervised one of mmpretrain, two views
        of each image.
    """
    if library == 'mmpretrain' and is_self_supervised(model):
        generator = torch.Generator().manual_seed(0)
        views = torch.randint(256, (2, count, 3, *size), generator=generator, dtype=torch.uint8)
        return dict(inputs=list(views), data_samples=None)
    numbers = [getattr(module, 'num_classes', None) for module in model.modules()]
    classes = max(number for number in numbers if isinstance(number, int))
    if library == 'mmdet':
        from mmdet.testing import demo_mm_inputs

        # Seven boxes, as an image of COCO has on average.
        boxes = dict(num_items=[7] * count, num_classes=max(classes, 2), with_mask=model.with_mask)
        batch = demo_mm_inputs(count, (3, *size), **boxes)
        if classes == 1:  # of which it can draw none
            for sample in batch['data_samples']:
                sample.gt_instances.labels.zero_()
        return batch
    generator = torch.Generator().manual_seed(0)
    images = list(torch.randint(256, (count, 3, *size), generator=generator, dtype=torch.uint8))
    if library == 'mmseg':
        from mmseg.structures import SegDataSample

        maps = torch.randint(classes, (count, 1, *size), generator=generator)
        meta = dict(img_shape=size, ori_shape=size)
        samples = [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=labels)) for labels in maps]
    else:
        from mmpretrain.structures import DataSample

        samples = [DataSample().set_gt_label(index % classes) for index in range(count)]
    return dict(inputs=images, data_samples=samples)


def is_self_supervised(model: nn.Module) -> bool:
    """Tell whether a model learns from views of images alone, and predicts nothing.

    Args:
        model (nn.Module): A model of any library.

    Returns:
        bool: Whether it is a self-supervised one of mmpretrain.
    """
    try:
        from mmpretrain.models.selfsup.base import BaseSelfSupervisor
    except ImportError:
        return False
    return isinstance(model, BaseSelfSupervisor)


@contextmanager
def count_flops() -> Iterator[FlopCounterMode]:
    """Count the FLOPs of what runs within, without gradients.

    PyTorch's counter knows convolutions and matrix products, but not every fused kernel that attention may take
    instead: these are off within.

    Yields:
        FlopCounterMode: The counter; one multiply-accumulate is two FLOPs.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
