# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same MaskSub training in one process or in two; as a script it is the second of two: FOLDER."""

import sys

import torch
from mmengine.optim import OptimWrapper
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.heads import VisionTransformerClsHead
from mmpretrain.structures import DataSample
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from two_processes import process_group

from mmmaskany.engine import OwnStepDistributedDataParallel
from mmmaskany.masking import RandomPattern
from mmmaskany.models.classifiers import MaskSubClassifier
from mmmaskany.models.sub_masking import DropTokens

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
STEPS, BATCH = 4, 4


class FirstCells(RandomPattern):
    """Masks the first cells of every image, so that it does not matter in which process an image is."""

    def scores(self, layout, largest, generator):
        cells = torch.arange(largest.grid_rows * largest.grid_cols, dtype=torch.float)
        return cells.view(1, largest.grid_rows, largest.grid_cols).expand(len(layout.count), -1, -1)


def classifier(two_passes=True):
    torch.manual_seed(0)
    model = MaskSubClassifier(
        backbone=VisionTransformer(ARCH, img_size=32, patch_size=8),
        head=VisionTransformerClsHead(num_classes=5, in_channels=16),
        sub_masking=DropTokens(FirstCells(ratio=0.5, cell=8, base=8)),
        two_passes=two_passes,
    )
    nn.init.normal_(model.head.layers.head.weight)
    return model.train()


def train(model, accumulate, part=slice(None), run=None):
    """Train four steps on a part of each batch of four images."""
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=accumulate)
    optim_wrapper.initialize_count_status(model, 0, STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        images = torch.randn(BATCH, 3, 32, 32, generator=generator)[part]
        labels = torch.randint(5, (BATCH,), generator=generator)[part].tolist()
        data = dict(inputs=images, data_samples=[DataSample().set_gt_label(label) for label in labels])
        (run or model).train_step(data, optim_wrapper)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def train_and_count(accumulate, two_passes, part):
    """Train in one of two processes; return what was trained, and how often all gradients were sent."""
    model, sent = classifier(two_passes), []
    wrapper = OwnStepDistributedDataParallel(model)

    def send(state, bucket):
        sent.append(bucket.is_last())
        return allreduce_hook(None, bucket)

    wrapper.register_comm_hook(None, send)
    return train(model, accumulate, part, wrapper), sum(sent)


def train_in_two_processes(rank, folder):
    """Yield what was trained, and how often all gradients were sent, for each way to accumulate and to pass."""
    half = BATCH // 2
    with process_group(rank, folder):
        for accumulate in (1, 2):
            for two_passes in (True, False):
                weights, sent = train_and_count(accumulate, two_passes, slice(rank * half, (rank + 1) * half))
                yield accumulate, two_passes, weights, sent


if __name__ == '__main__':
    list(train_in_two_processes(1, sys.argv[1]))
