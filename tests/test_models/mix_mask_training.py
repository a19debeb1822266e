# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same MixMask training in one process or in two; as a script it is the second of two: FOLDER."""

import sys

import torch
from mask_sub_training import ARCH, FirstCells
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from two_processes import process_group

from mmmaskany.models.batch_augments import MaskMix

STEPS = 3
CNN = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
VIT = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8)
MIX = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.BlockPattern', ratio=0.5, cell=8, base=8))


def nonlinear(*channels, **kwargs):
    names = 'in_channels', 'hid_channels', 'out_channels'
    channels = dict(zip(names, channels, strict=True))
    return dict(type='NonLinearNeck', norm_cfg=dict(type='BN1d'), **channels, **kwargs)


def moco(backbone=CNN, channels=32, mixing=MIX, **kwargs):
    """Return the config of a tiny MoCo v2 with a queue of 16 keys."""
    head = dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2)
    neck = dict(type='MoCoV2Neck', in_channels=channels, hid_channels=16, out_channels=8, with_avg_pool=channels == 32)
    cfg = dict(type='mmmaskany.MixMaskMoCo', backbone=backbone, neck=neck, head=head, queue_len=16, feat_dim=8)
    return dict(cfg, mixing=mixing, **kwargs)


def latent(name, mixing=MIX):
    """Return the config of a tiny SimSiam or BYOL."""
    predictor = nonlinear(8, 4, 8, with_avg_pool=False, with_last_bn=False, with_last_bias=True)
    head = dict(type='LatentPredictHead', loss=dict(type='CosineSimilarityLoss'), predictor=predictor)
    neck = nonlinear(32, 16, 8, with_avg_pool=True)
    return dict(type=f'mmmaskany.MixMask{name}', backbone=CNN, neck=neck, head=head, mixing=mixing)


def build(cfg):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    return MODELS.build(dict(cfg)).train()


#: Without batch norm the process that a key is shuffled to does not matter; in SimSiam no image changes its process.
TRAININGS = (moco(VIT, 16, mixing=None), latent('SimSiam', mixing=None))


def train(cfg, part=slice(None), wrap=lambda model: model):
    """Train three steps on a part of batches of two images, each of which is there twice, so that halves are alike."""
    model = build(dict(cfg, mixing=MaskMix(FirstCells(ratio=0.25, cell=8, base=8))))
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    run, generator = wrap(model), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        views = [torch.randn(2, 3, 32, 32, generator=generator).repeat(2, 1, 1, 1)[part] for _ in range(2)]
        run.train_step(dict(inputs=views, data_samples=None), optim_wrapper)
    return {name: tensor for name, tensor in model.state_dict().items() if 'running_var' not in name}


def train_in_two_processes(rank, folder):
    """Yield the state of each training."""
    with process_group(rank, folder):
        for cfg in TRAININGS:
            part = slice(rank * 2, rank * 2 + 2)
            yield train(cfg, part, lambda model: MMDistributedDataParallel(model, broadcast_buffers=False))


if __name__ == '__main__':
    list(train_in_two_processes(1, sys.argv[1]))
