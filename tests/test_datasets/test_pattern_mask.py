# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Any pattern as the masks of mmpretrain's SimMIM."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.datasets.transforms import SimMIMMaskGenerator

from mmmaskany.datasets.transforms import PatternMask
from mmmaskany.masking import RandomPattern

NOISE = dict(type='mmmaskany.NoisePattern', color='red', ratio=0.6, cell=8, base=2)


def test_mask_is_the_draw_at_the_size_of_tokens():
    transform = PatternMask(NOISE)
    torch.manual_seed(0)
    results = transform(dict(img=np.zeros((32, 48, 3), np.uint8), img_path='a.png'))
    torch.manual_seed(0)
    drawn = transform.pattern.draw(1, 32, 48).mask[0]
    assert results['img_path'] == 'a.png'
    np.testing.assert_array_equal(results['mask'], drawn.numpy())
    # 24 cells of 4 x 4 tokens, of which 0.6 x 24 = 14 are masked.
    assert results['mask'].shape == (16, 24) and results['mask'].sum() == 14 * 16


def test_mmpretrains_masks_are_one_of_them():
    theirs = SimMIMMaskGenerator(input_size=192, mask_patch_size=32, model_patch_size=4, mask_ratio=0.5)({})['mask']
    ours = PatternMask(RandomPattern(ratio=0.5, cell=32, base=4))(dict(img=np.zeros((192, 192, 3), np.uint8)))['mask']
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.sum() == theirs.sum()
    for mask in (ours, theirs):
        np.testing.assert_array_equal(mask, mask[::8, ::8].repeat(8, 0).repeat(8, 1))


def test_simmim_trains_a_step():
    init_default_scope('mmpretrain')
    arch = dict(embed_dims=16, depths=[1, 1], num_heads=[2, 2])
    model = MODELS.build(
        dict(
            type='SimMIM',
            data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
            backbone=dict(
                type='SimMIMSwinTransformer',
                arch=arch,
                img_size=32,
                out_indices=(1,),
                drop_path_rate=0.0,
                patch_cfg=dict(kernel_size=2, stride=2),
                stage_cfgs=dict(block_cfgs=dict(window_size=4)),
            ),
            neck=dict(type='SimMIMLinearDecoder', in_channels=32, encoder_stride=4),
            head=dict(
                type='SimMIMHead',
                patch_size=2,
                loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3),
            ),
        )
    )
    model.init_weights()
    model.train()
    token = model.backbone.mask_token.clone()
    pipeline = Compose([dict(type='mmmaskany.PatternMask', pattern=NOISE), dict(type='PackInputs')])
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    torch.manual_seed(0)
    losses = []
    for _ in range(12):
        data = default_collate([pipeline(dict(img=image)) for _ in range(4)])
        losses.append(model.train_step(data, optim)['loss'].item())
    assert losses[-1] < 0.9 * losses[0]
    assert not torch.equal(model.backbone.mask_token, token)


def test_errors():
    with pytest.raises(TypeError, match='must be a Pattern or MixturePattern, but got float'):
        PatternMask(0.6)
    with pytest.raises(TypeError, match='needs an image as a numpy array, but got Tensor'):
        PatternMask(NOISE)(dict(img=torch.zeros(32, 32, 3)))
    with pytest.raises(ValueError, match='whole number of tokens of 2 px, the base of the pattern, but got 33 x 32 px'):
        PatternMask(NOISE)(dict(img=np.zeros((33, 32, 3), np.uint8)))
    with pytest.raises(ValueError, match='take a larger image or smaller cells'):
        PatternMask(NOISE)(dict(img=np.zeros((8, 8, 3), np.uint8)))
    assert repr(PatternMask(NOISE)).startswith('PatternMask(pattern=NoisePattern(ratio=0.6, cell=[8], base=2')
