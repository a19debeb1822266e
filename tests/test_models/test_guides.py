# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Guided masks: by the attention and the class activation of MaskSub's main branch, and by objects."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

from mmmaskany.masking import ActivationPattern, AttentionPattern, ObjectPattern
from mmmaskany.models.guides import class_attention, cover_of_boxes, in_cells

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
VIT = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8)
CNN = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
GAP = dict(type='GlobalAveragePooling')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def attention(**kwargs):
    return dict(dict(type='mmmaskany.AttentionPattern', ratio=0.25, cell=8, base=8), **kwargs)


def activation(**kwargs):
    return dict(dict(type='mmmaskany.ActivationPattern', ratio=0.25, cell=8, base=8), **kwargs)


def build(backbone, pattern, kind='FillCells', neck=None, **kwargs):
    torch.manual_seed(0)
    head = 'DeiTClsHead' if backbone['type'].startswith('Distilled') else 'LinearClsHead'
    head = dict(type=head, num_classes=5, in_channels=16 if neck is None else 32)
    cfg = dict(backbone=backbone, neck=neck, head=head, sub_masking=dict(type=f'mmmaskany.{kind}', pattern=pattern))
    model = MODELS.build(dict(cfg, type='mmmaskany.MaskSubClassifier', **kwargs))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and 'conv' not in name:  # what is looked at, and for what, differs
            nn.init.normal_(parameter, std=0.5)
    return model.train()


def step(model, images):
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    samples = [DataSample().set_gt_label(index % 5) for index in range(len(images))]
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    logs = model.train_step(dict(inputs=images, data_samples=samples), optim_wrapper)
    assert logs['loss_sub'].isfinite() and model.sub_masking.guidance is None
    return seen


def filled(main, sub):
    """Return which cells of 8 px were filled, bool ``(B, cells)``."""
    return F.avg_pool2d((main != sub).any(1).float()[:, None], 8).flatten(1) == 1


# ---------------------------------------------------------------------- attention


@pytest.mark.parametrize('cfg', [VIT, dict(VIT, type='DeiT3'), dict(VIT, type='DistilledVisionTransformer')])
def test_attention_is_that_of_the_layer(cfg):
    host = MODELS.build(dict(cfg))
    for parameter in host.parameters():
        nn.init.normal_(parameter, std=0.3)
    layer = host.layers[-1].attn
    tokens = torch.randn(3, 17, 16)
    # What the class token gets is what it attends to: of values that are 1 for one token alone, its share of them.
    shares = class_attention(layer, tokens)
    assert shares.shape == (3, 17)
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    got, own = [], layer.scaled_dot_product_attention
    layer.scaled_dot_product_attention = lambda q, k, v, **kwargs: got.append((q, k)) or own(q, k, v, **kwargs)
    layer(tokens)
    query, key = got[0]
    one_hot = torch.eye(17).expand(3, 2, 17, 17)
    expected = F.scaled_dot_product_attention(query, key, one_hot)[:, :, 0].mean(1)
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('hide', ['most', 'least'])
@pytest.mark.parametrize(
    ('backbone', 'before'), [(VIT, 1), (dict(VIT, type='DeiT3'), 1), (dict(VIT, type='DistilledVisionTransformer'), 2)]
)
def test_what_the_class_token_attends_to_is_hidden(backbone, before, hide):
    model = build(backbone, attention(hide=hide))
    inputs = []
    model.backbone.layers[-1].attn.register_forward_pre_hook(lambda layer, args: inputs.append(args[0].detach()))
    main, sub = step(model, torch.randn(4, 3, 32, 32))
    shares = class_attention(model.backbone.layers[-1].attn, inputs[0])[:, before:]
    masked = filled(main, sub)
    assert masked.sum(1).tolist() == [4] * 4
    for row, mask in zip(shares, masked, strict=True):
        inside, outside = row[mask], row[~mask]
        assert inside.min() >= outside.max() if hide == 'most' else inside.max() <= outside.min()


def test_tokens_that_are_attended_to_are_dropped():
    model = build(VIT, attention(ratio=0.5), 'DropTokens')
    lasts, layers = [], []
    model.backbone.layers[-1].attn.register_forward_pre_hook(lambda layer, args: lasts.append(args[0].detach()))
    model.backbone.layers[0].ln1.register_forward_pre_hook(lambda layer, args: layers.append(args[0].detach()))
    images = torch.randn(2, 3, 32, 32)
    step(model, images)
    shares = class_attention(model.backbone.layers[-1].attn, lasts[0])[:, 1:]
    whole, kept = layers
    assert kept.shape[1] == 9
    for image in range(2):
        least = shares[image].argsort()[:8].sort().values
        torch.testing.assert_close(kept[image, 1:], whole[image, 1:][least])


def test_hints_are_shown():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(50, 8, 8, generator=generator)
    pattern = AttentionPattern(ratio=0.5, cell=4, shown=0.125)
    mask = pattern.draw(50, 32, 32, generator, scores=scores).mask.flatten(1)
    assert mask.sum(1).tolist() == [32] * 50
    order = scores.flatten(1).argsort(1, descending=True)
    ranked = mask.gather(1, order)
    assert ranked[:, :32].sum(1).tolist() == [24] * 50  # of the most attended half 8 of 64 are shown,
    assert ranked[:, 32:40].all() and not ranked[:, 40:].any()  # and as many that come next are masked
    assert (ranked[:, :32].float().mean(0) < 1).all()  # any of them may be shown
    again = pattern.draw(50, 32, 32, generator, scores=scores).mask.flatten(1)
    assert not torch.equal(mask, again)


@pytest.mark.parametrize('two_passes', [True, False])
def test_a_mixture_guides_some_of_the_images(two_passes):
    rest = dict(type='mmmaskany.RandomPattern', ratio=0.25, cell=8, base=8)
    mixture = dict(type='mmmaskany.MixturePattern', patterns=[attention(), rest], probs=[0.5, 0.5])
    model = build(VIT, mixture, two_passes=two_passes)
    inputs = []
    model.backbone.layers[-1].attn.register_forward_pre_hook(lambda layer, args: inputs.append(args[0].detach()))
    main, sub = step(model, torch.randn(64, 3, 32, 32))
    best = class_attention(model.backbone.layers[-1].attn, inputs[0])[:, 1:].topk(4).indices
    masked = filled(main, sub)
    assert masked.sum(1).tolist() == [4] * 64
    guided = masked.gather(1, best).all(1).float().mean()
    assert 0.25 < guided < 0.75


# ---------------------------------------------------------------------- class activation


@pytest.mark.parametrize('hide', ['most', 'least'])
def test_what_speaks_for_the_class_is_hidden(hide):
    model = build(CNN, activation(hide=hide), neck=GAP)
    feats = []
    model.neck.register_forward_pre_hook(lambda neck, args: feats.append(args[0][-1].detach()))
    main, sub = step(model, torch.randn(3, 3, 32, 32))
    masked, weight = filled(main, sub), model.head.fc.weight.detach()
    logits = feats[0].mean((2, 3)) @ weight.T + model.head.fc.bias.detach()
    for image in range(3):
        cam = (weight[logits[image].argmax()][:, None, None] * feats[0][image]).sum(0)
        cam = F.interpolate(cam[None, None], (32, 32), mode='bilinear', align_corners=False)
        cells = F.avg_pool2d(cam, 8).flatten()
        inside, outside = cells[masked[image]], cells[~masked[image]]
        assert len(inside) == 4
        assert inside.min() >= outside.max() if hide == 'most' else inside.max() <= outside.min()


def test_the_main_branch_is_not_changed():
    images = torch.randn(3, 3, 32, 32)
    samples = [DataSample().set_gt_label(label) for label in range(3)]
    losses = []
    for pattern in (activation(), dict(type='mmmaskany.RandomPattern', ratio=0.25, cell=8, base=8)):
        model = build(CNN, pattern, neck=GAP)
        losses.append(model.loss(images, samples))
        assert not model.neck._forward_hooks and not model.backbone._forward_hooks
    assert torch.equal(losses[0]['loss_main'], losses[1]['loss_main'])
    assert not torch.equal(losses[0]['loss_sub'], losses[1]['loss_sub'])


# ---------------------------------------------------------------------- objects


def test_cells_of_objects():
    boxes = [torch.tensor([[0.0, 0.0, 8.0, 8.0], [10.0, 8.0, 16.0, 12.0]]), torch.zeros(0, 4)]
    cover = cover_of_boxes(boxes, (17, 18), 8)
    assert cover.tolist() == [[[64, 0], [0, 24]], [[0, 0], [0, 0]]]
    inside = ObjectPattern(ratio=0.5, cell=8).draw(2, 17, 18, scores=cover)
    assert F.max_pool2d(inside.mask[:1].float(), 2)[0].tolist() == [[1, 0], [0, 1]]
    outside = ObjectPattern(ratio=0.5, cell=8, hide='outside').draw(2, 17, 18, scores=cover)
    assert F.max_pool2d(outside.mask[:1].float(), 2)[0].tolist() == [[0, 1], [1, 0]]
    assert inside.ratio.tolist() == outside.ratio.tolist() == [0.5, 0.5]


def test_maps_become_cells():
    maps = torch.arange(4.0).view(1, 2, 2)
    assert in_cells(maps, (8, 8), 4).tolist() == maps.tolist()
    assert in_cells(maps, (8, 8), 8).tolist() == [[[1.5]]]
    assert in_cells(maps, (8, 8), 2)[0, 0].tolist() == [0, 0, 1, 1]
    assert in_cells(maps, (9, 11), 4).shape == (1, 2, 2)


# ---------------------------------------------------------------------- bad input


RANDOM = dict(type='mmmaskany.RandomPattern', ratio=0.25, cell=8, base=8)


def mixture(*patterns):
    return dict(type='mmmaskany.MixturePattern', patterns=list(patterns), probs=[0.5] * len(patterns))


@pytest.mark.parametrize(
    ('backbone', 'pattern', 'neck', 'match'),
    [
        (CNN, attention(), GAP, 'needs the attention of a class token, .*but got ResNet_CIFAR: take ActivationPattern'),
        (
            dict(VIT, type='BEiTViT', out_type='avg_featmap'),
            attention(),
            None,
            'needs the attention of a class token, .*but got BEiTViT',
        ),
        (dict(VIT, with_cls_token=False, out_type='avg_featmap'), attention(), None, 'but got VisionTransformer'),
        (
            dict(type='mmmaskany.MaskAny', backbone=dict(VIT, type='mmpretrain.VisionTransformer'), fuse_at='levels'),
            attention(),
            None,
            "with fuse_at='levels' runs on two",
        ),
        (VIT, activation(), None, 'ActivationPattern needs class activation maps.* with neck NoneType and head Linear'),
        (
            CNN,
            dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8),
            GAP,
            'come from attention or activation, but ObjectPattern needs objects: .*ObjectPattern is for MaskedDetector',
        ),
        (CNN, dict(type='mmmaskany.RankedPattern', ratio=0.25, cell=8), GAP, 'but RankedPattern needs others'),
        (VIT, mixture(attention(), attention(cell=16)), None, 'one guide, one size of cells'),
    ],
)
def test_guides_that_are_not_there(backbone, pattern, neck, match):
    with pytest.raises(ValueError, match=match):
        build(backbone, pattern, neck=neck)


@pytest.mark.parametrize(
    ('pattern', 'match'),
    [
        (
            attention(),
            'AttentionPattern is guided by attention, of which a backbone knows nothing: .*sub_masking of Mask',
        ),
        (
            mixture(RANDOM | dict(base=4), dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8)),
            'ObjectPattern is guided by objects, .*take it in MaskedDetector or MaskedSegmentor',
        ),
    ],
)
def test_a_backbone_has_no_guide(pattern, match):
    backbone = dict(type='mmmaskany.MaskAny', backbone=dict(CNN, type='mmpretrain.ResNet_CIFAR'))
    with pytest.raises(ValueError, match=match):
        MODELS.build(dict(backbone, masking=dict(pattern=pattern, reuse=False)))


@pytest.mark.parametrize(
    ('cls', 'args', 'match'),
    [
        (AttentionPattern, dict(ratio=0.5, hide='all'), r"hide must be one of \('most', 'least'\), but got 'all'"),
        (ActivationPattern, dict(ratio=0.5, hide='inside'), 'hide must be one of'),
        (ObjectPattern, dict(ratio=0.5, hide='most'), r"hide must be one of \('inside', 'outside'\), but got 'most'"),
        (AttentionPattern, dict(ratio=0.5, shown=0.5), 'shown must be at least 0, less than the share 0.5'),
        (AttentionPattern, dict(ratio=0.8, shown=0.3), 'shown must be .* but got 0.3'),
        (AttentionPattern, dict(ratio=0.5, cell=[8, 16]), 'must have cells of one size'),
    ],
)
def test_bad_patterns(cls, args, match):
    with pytest.raises(ValueError, match=match):
        cls(**args)
