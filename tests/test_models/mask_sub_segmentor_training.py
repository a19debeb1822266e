# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same MaskSub training of a segmentor in one process or in two; as a script it is the second of two: FOLDER."""

import sys

import torch
from mask_sub_training import ARCH, BATCH, STEPS, FirstCells
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from two_processes import process_group

from mmmaskany.engine import OwnStepDistributedDataParallel


def segmentor():
    """Build a segmentor without batch norms, so that it does not matter in which process an image is."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    loss = dict(type='CrossEntropyLoss')
    head = dict(type='FCNHead', in_channels=16, in_index=0, channels=16, num_convs=1, num_classes=5, dropout_ratio=0)
    head['loss_decode'] = loss
    backbone = dict(
        type='mmpretrain.VisionTransformer',
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_type='featmap',
        out_indices=(0, 1),
    )
    heads = dict(
        decode_head=dict(head, dropout_ratio=0, in_index=1),
        auxiliary_head=dict(head, dropout_ratio=0, loss_decode=loss),
    )
    sub_masking = dict(type='mmmaskany.ReplacePatches', pattern=FirstCells(ratio=0.5, cell=8, base=8))
    model = dict(type='mmmaskany.MaskSubSegmentor', backbone=backbone, sub_masking=sub_masking, **heads)
    return MODELS.build(model).train()


def train(model, accumulate, part=slice(None), run=None):
    """Train four steps on a part of each batch of four images."""
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=accumulate)
    optim_wrapper.initialize_count_status(model, 0, STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        images = torch.randn(BATCH, 3, 32, 32, generator=generator)[part]
        labels = torch.randint(5, (BATCH, 1, 32, 32), generator=generator)
        labels[:, :, :3] = 255
        samples = []
        for label in labels[part]:
            samples.append(SegDataSample())
            samples[-1].gt_sem_seg = PixelData(data=label)
        (run or model).train_step(dict(inputs=images, data_samples=samples), optim_wrapper)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def train_in_two_processes(rank, folder):
    """Yield what was trained for each way to accumulate."""
    with process_group(rank, folder):
        for accumulate in (1, 2):
            model, part = segmentor(), slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
            yield accumulate, train(model, accumulate, part, OwnStepDistributedDataParallel(model))


if __name__ == '__main__':
    list(train_in_two_processes(1, sys.argv[1]))
