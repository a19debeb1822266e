# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MAE's encoder with any pattern, in mmpretrain's MAE."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.models.selfsup import MAEViT
from mmpretrain.structures import DataSample

from mmmaskany.masking import BlockPattern, GridPattern, MixturePattern, NoisePattern, PatchPattern, RandomPattern
from mmmaskany.models.selfsup import PatternMAEViT

ARCH = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
SIZES = dict(arch=ARCH, img_size=32, patch_size=4)

PATTERNS = [
    RandomPattern(ratio=0.75, cell=4),
    RandomPattern(ratio=0.6, cell=8),
    BlockPattern(ratio=0.4, cell=4),
    NoisePattern(ratio=0.75, cell=4),
    GridPattern(scale=0.5, cell=4),
    PatchPattern(scale=0.5),
    MixturePattern([NoisePattern(ratio=0.5, cell=4), BlockPattern(ratio=0.5, cell=8)], [0.5, 0.5]),
]


@pytest.mark.parametrize('pattern', PATTERNS, ids=repr)
def test_the_pattern_says_which_tokens_are_dropped(pattern):
    vit = PatternMAEViT(pattern, **SIZES)
    tokens = torch.arange(1.0, 4 * 64 * 16 + 1).view(4, 64, 16)
    torch.manual_seed(0)
    visible, mask, restore = vit.random_masking(tokens)
    torch.manual_seed(0)
    drawn = pattern.draw(4, 32, 32).mask.flatten(1)
    assert torch.equal(mask, drawn.float())
    count = int(drawn[0].sum())
    assert visible.shape == (4, 64 - count, 16) and vit.mask_ratio == count / 64
    # As the decoder does it: what was dropped goes to the end, and all to its place.
    filled = torch.cat([visible, tokens.new_zeros(4, count, 16)], 1)
    filled = filled.gather(1, restore[..., None].expand(-1, -1, 16))
    assert torch.equal(filled, tokens * (1 - mask)[..., None])


class Replay(RandomPattern):
    """Draws what was drawn elsewhere."""

    def __init__(self, mask):
        super().__init__(ratio=mask[0].mean().item(), cell=4)
        self.mask = mask

    def masked_cells(self, height, width):
        return int(self.mask[0].sum())

    def draw(self, batch, height, width, generator=None, device=None):
        draw = super().draw(batch, height, width)
        return type(draw)(self.mask.view(draw.mask.shape).bool(), draw.masked, draw.base)


def test_features_are_the_hosts_for_its_mask():
    host = MAEViT(**SIZES)
    host.init_weights()
    images = torch.randn(3, 3, 32, 32)
    torch.manual_seed(0)
    latent, mask, restore = host(images)
    ours = PatternMAEViT(Replay(mask), **SIZES)
    ours.load_state_dict(host.state_dict())

    def in_place(latent, restore):
        tokens = torch.cat([latent[:, 1:], latent.new_zeros(3, 64 - 16, 16)], 1)
        return latent[:, 0], tokens.gather(1, restore[..., None].expand(-1, -1, 16))

    features, same_mask, order = ours(images)
    assert torch.equal(same_mask, mask)
    torch.testing.assert_close(in_place(features, order), in_place(latent, restore))
    assert torch.equal(ours(images, mask=None)[0], host(images, mask=None)[0])  # fine-tuning sees no mask


def test_mae_trains_a_step():
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='MAE',
            data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
            backbone=dict(
                type='mmmaskany.PatternMAEViT',
                pattern=dict(type='mmmaskany.NoisePattern', color='green', ratio=0.75, cell=4),
                **SIZES,
            ),
            neck=dict(
                type='MAEPretrainDecoder',
                num_patches=64,
                patch_size=4,
                embed_dim=16,
                decoder_embed_dim=16,
                decoder_depth=1,
                decoder_num_heads=2,
            ),
            head=dict(type='MAEPretrainHead', patch_size=4, loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        )
    )
    model.init_weights()
    model.train()
    optim = OptimWrapper(torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2))
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8).expand(4, -1, -1, -1)
    data = dict(inputs=image, data_samples=[DataSample() for _ in range(4)])
    losses = [model.train_step(data, optim)['loss'].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]
    # Another share, as a schedule sets it, drops another number of tokens.
    model.backbone.pattern.share = 0.25
    assert model.backbone(torch.zeros(1, 3, 32, 32))[0].shape == (1, 1 + 48, 16)


@pytest.mark.parametrize(
    ('pattern', 'args', 'error', 'message'),
    [
        ('random', {}, TypeError, 'must be a Pattern or MixturePattern, but got str'),
        (PATTERNS[0], dict(mask_ratio=0.5), ValueError, "got mask_ratio=0.5: give it as the pattern's `ratio`"),
        (RandomPattern(ratio=0.5, cell=8, base=8), {}, ValueError, r'side of a patch, \(4, 4\) px, but got'),
        (RandomPattern(ratio=0.5, cell=[4, 12]), {}, ValueError, 'as many cells must be masked in every image'),
        (MixturePattern(PATTERNS[:1], [0.5]), {}, ValueError, r'masks one of \[0, 48\] base cells'),
        (RandomPattern(ratio=0.999, cell=4), {}, ValueError, 'must mask at least one cell and leave one'),
    ],
)
def test_refused_when_built(pattern, args, error, message):
    with pytest.raises(error, match=message):
        PatternMAEViT(pattern, **SIZES, **args)
