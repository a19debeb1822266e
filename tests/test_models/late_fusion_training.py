# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same training with ``fuse_at='levels'`` in one process or in two; as a script it is the second of two: FOLDER."""

import sys

import torch
from mask_sub_training import FirstCells
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from two_processes import process_group

STEPS = 3
#: Layer norms alone: no image changes with its batch. By ``find_unused_parameters``, with the levels that it has: the
#: head reads the last one.
TRAININGS = ((False, (3,)), (True, (3,)), (True, (0, 1, 2, 3)), (False, (0, 3)))


def build(levels):
    """Build a tiny classifier that fuses some levels of a ConvNeXt."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    host = dict(
        type='mmpretrain.ConvNeXt',
        arch=dict(depths=[1] * 4, channels=[4, 8, 12, 16]),
        out_indices=levels,
        gap_before_final_norm=False,
    )
    masking = dict(pattern=FirstCells(scale=0.5, cell=16, base=16))  # the same of each image, in any process
    head = dict(type='LinearClsHead', num_classes=3, in_channels=16)
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmmaskany.MaskAny', backbone=host, masking=masking, fuse_at='levels'),
            neck=dict(type='GlobalAveragePooling'),
            head=head,
        )
    ).train()


def train(levels, part=slice(None), wrap=lambda model: model):
    """Train on a part of batches of four images."""
    model = build(levels)
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    run, generator = wrap(model), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        images = torch.randn(4, 3, 64, 64, generator=generator)
        samples = [DataSample().set_gt_label(label) for label in (0, 1, 2, 1)]
        run.train_step(dict(inputs=images[part], data_samples=samples[part]), optim_wrapper)
    return model.state_dict()


def wrap(model, unused):
    return MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=unused)


def train_in_two_processes(rank, folder):
    """Yield the state of each training, or what PyTorch says of it."""
    with process_group(rank, folder):
        for unused, levels in TRAININGS:
            try:
                yield train(levels, slice(rank * 2, rank * 2 + 2), lambda model: wrap(model, unused))  # noqa: B023
            except RuntimeError as error:
                yield str(error)


if __name__ == '__main__':
    list(train_in_two_processes(1, sys.argv[1]))
