# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What the sections "When it does nothing" of docs/methods say holds."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmmaskany.engine.hooks import MaskScheduleHook
from mmmaskany.masking import LayerMasking, MeanFill, Views, half_size
from mmmaskany.models.backbones import MaskAny
from mmmaskany.models.batch_augments import MaskMix
from mmmaskany.models.selfsup import PatternMAEViT

CELLS = dict(type='mmmaskany.RandomPattern', scale=0.5, cell=8)
NO_IMAGE = dict(type='mmmaskany.MixturePattern', patterns=[CELLS], probs=[0.0])


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def backbone(masking=None, **kwargs):
    return MaskAny(
        dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8, **kwargs), masking=masking
    )


def classifier(**kwargs):
    return MODELS.build(
        dict(
            type='mmmaskany.MaskSubClassifier',
            backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=64),
            **kwargs,
        )
    )


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize(
    ('masking', 'training'), [(dict(pattern=CELLS), False), (None, True), (dict(pattern=NO_IMAGE), True)]
)
def test_maskany_sees_whole_images(masking, training):
    network = backbone(masking).train(training)
    images = torch.rand(4, 3, 64, 64)
    visible, reused, _ = network.views(images)
    assert torch.equal(visible, images) and torch.equal(reused, half_size(images))
    assert not torch.equal(backbone(dict(pattern=CELLS)).train().views(images).visible, images)


def test_maskany_masks_no_ready_pair():
    images = torch.rand(2, 3, 64, 64)
    pair = Views(images, half_size(images))
    assert backbone(dict(pattern=CELLS)).train().views(pair) is pair


def test_an_adopted_network_ignores_the_reused_image():
    plain = MODELS.build(dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8))
    network = backbone(dict(pattern=CELLS))
    network.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 64)
    network.eval(), plain.eval()
    draw = network.masking(images).draw
    visible = network.masking(images, draw).visible
    assert not torch.equal(visible, images)
    assert torch.equal(network(images, draw=draw)[0], plain(visible)[0])
    with pytest.warns(UserWarning, match='the reused stem cannot learn'):
        network = backbone(dict(pattern=CELLS), frozen_stages=1).train()
        network.load_state_dict(plain.state_dict())
    network(images)[0].sum().backward()
    assert network.dual_stem.fusion.is_silent() and not any(p.requires_grad for p in network.dual_stem.parameters())


def test_a_frozen_colour_is_not_learned():
    network = backbone(dict(pattern=CELLS, fill=dict(type='mmmaskany.TokenFill')))
    assert network.masking.fill.token.requires_grad
    network.freeze()
    assert not network.masking.fill.token.requires_grad


def test_mean_fill_of_one_colour():
    images = torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1).expand(2, 3, 16, 16).clone()
    mask = torch.rand(2, 1, 16, 16) < 0.5
    torch.testing.assert_close(MeanFill()(images, mask), images)


def test_masksub_is_its_host_but_for_the_loss():
    model = classifier(sub_masking=dict(type='mmmaskany.FillCells'))
    images = torch.rand(2, 3, 64, 64)
    called = []
    model.sub_masking.draw = lambda *args: called.append(args)
    model.train()
    model(images, samples(0, 1), mode='tensor'), model.eval()(images, samples(0, 1), mode='predict')
    assert not called
    model = classifier(sub_masking=dict(type='mmmaskany.FillCells')).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(images, samples(0, 1), mode='loss')
    assert torch.equal(seen[0], images) and (seen[1] == 0).float().mean() == 0.5


def test_whole_images_teach_the_sub_branch_nothing():
    pattern = dict(
        type='mmmaskany.MixturePattern',
        patterns=[dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=32, base=32)],
        probs=[0.0],
    )
    model = classifier(sub_masking=dict(type='mmmaskany.FillCells', pattern=pattern)).eval()
    images = torch.rand(2, 3, 64, 64)
    _, scores = model(images, samples(0, 1), mode='main')
    model(images, scores=scores, mode='sub')['loss_sub'].backward()
    assert max(parameter.grad.abs().max() for parameter in model.parameters()) < 1e-6


def test_layers_see_all_outside_of_the_context():
    model = MODELS.build(dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8))
    model.eval()
    images, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    before = model(images)[0]
    layers = LayerMasking(model, (64, 64))
    with layers.masked(images, mask) as visible:
        assert torch.equal(model(visible)[0], before)
    assert torch.equal(model(images)[0], before)


def test_mae_masks_unless_there_is_no_mask():
    encoder = PatternMAEViT(
        dict(type='mmmaskany.RandomPattern', ratio=0.75, cell=16, base=16),
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
        img_size=64,
        patch_size=16,
    )
    images = torch.rand(2, 3, 64, 64)
    encoder.eval()
    assert encoder(images)[0].shape == (2, 5, 16)
    assert encoder(images, mask=None)[0].shape == (2, 17, 16)


def test_maskmix_leaves_alone():
    images, scores = torch.rand(4, 3, 32, 32), torch.eye(4)
    mixed, labels = MaskMix(NO_IMAGE)(images, scores)
    assert torch.equal(mixed, images) and torch.equal(labels, scores)
    with pytest.warns(UserWarning, match='a batch of one image is not mixed'):
        assert torch.equal(MaskMix(CELLS)(images[:1], scores[:1])[0], images[:1])
    alike = torch.eye(4)[[0, 0, 0, 0]]
    mixed, labels = MaskMix(CELLS)(images, alike)
    assert not torch.equal(mixed, images) and torch.equal(labels, alike)
    mixed = MaskMix(CELLS).mix(images)
    assert (mixed.kept == 0.75).all()
    assert (MaskMix(NO_IMAGE).mix(images).kept == 1).all()


def test_a_schedule_of_one_epoch_has_its_first_value():
    hook = MaskScheduleHook(scale=(0.25, 0.75))
    assert [hook.value(0, 1), *(hook.value(epoch, 3) for epoch in range(3))] == [0.25, 0.25, 0.5, 0.75]
    assert MaskScheduleHook(scale=(0.25, 0.75), begin=1).value(0, 3) is None
