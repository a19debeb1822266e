# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Layer masking of real networks: nothing of what is hidden comes out, and it trains MaskSub's sub-branch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

from mmmaskany.engine import CpuAmpOptimWrapper
from mmmaskany.masking import ConstantFill, LayerMasking
from mmmaskany.masking.layers import MaskedLayers

SMALL = dict(stem_channels=4, base_channels=4)
CONVNEXT = dict(type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]), layer_scale_init_value=1.0)
GAP = dict(type='GlobalAveragePooling')
NETWORKS = {
    'resnet18': (dict(type='ResNet', depth=18, **SMALL), GAP, 32),
    'resnet50-d': (dict(type='ResNetV1d', depth=50, **SMALL), GAP, 128),
    'resnet18-cifar': (dict(type='ResNet_CIFAR', depth=18, **SMALL), GAP, 32),
    'se-resnet50': (dict(type='SEResNet', depth=50, **SMALL), GAP, 128),
    'mobilenet-v2': (dict(type='MobileNetV2', widen_factor=0.25), GAP, 1280),
    'mobilenet-v3': (dict(type='MobileNetV3', arch='small_075'), GAP, 432),
    'efficientnet-b0': (dict(type='EfficientNet', arch='b0'), GAP, 1280),
    'convnext': (CONVNEXT, None, 16),
    'regnet': (dict(type='RegNet', arch='regnetx_400mf'), dict(type='GeneralizedMeanPooling'), 384),
    'densenet': (dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=8)), GAP, 31),
    'timm-efficientnet': (dict(type='TIMMBackbone', model_name='tf_efficientnet_lite0', features_only=True), GAP, 320),
    'maskany': (
        dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet', depth=18, **SMALL)),
        GAP,
        32,
    ),
    'maskany-cifar': (
        dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, **SMALL)),
        GAP,
        32,
    ),
}
ATTENTION = dict(embed_dims=16, num_layers=1, num_heads=1, feedforward_channels=16)
FORMER = {
    'vit': (dict(type='VisionTransformer', arch=ATTENTION, img_size=32), 'in ImageClassifier `backbone.layers.0.attn`'),
    'swin': (
        dict(
            type='SwinTransformer',
            arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 1]),
            window_size=4,
            out_indices=(1,),
        ),
        r'in ImageClassifier `backbone.stages.0.blocks.0.attn.w_msa.softmax` \(Softmax\) does',
    ),
    'convnext-v2': (dict(CONVNEXT, use_grn=True, layer_scale_init_value=0.0), r'grn` \(GRN\) does'),
    'group-norm': (
        dict(type='ResNet', depth=18, norm_cfg=dict(type='GN', num_groups=2), **SMALL),
        r'gn1` \(GroupNorm\) does',
    ),
    'vgg': (
        dict(type='VGG', depth=11, num_classes=5),
        '64 x 64 px alone, ImageClassifier fails',
    ),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def build(backbone, neck, channels, **model):
    torch.manual_seed(0)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=channels, loss=dict(type='CrossEntropyLoss'))
    cfg = dict(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head), **model)
    built = MODELS.build(copy.deepcopy(cfg))
    nn.init.normal_(built.head.fc.weight)
    norms = [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # as if trained: no branch is silent, and the statistics are those of images
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = 1.0
    with torch.no_grad():
        built.train()(images_and_masks(64)[0])
    for norm in norms:
        norm.momentum = 0.1
    return built


def images_and_masks(side):
    """Make three smooth images: with a rectangle hidden, with a half hidden, and whole."""
    mask = torch.zeros(3, 1, side, side, dtype=torch.bool)
    mask[0, :, side // 6 : side - 3, 5 : side // 2 + 9] = mask[1, :, :, side // 3 :] = True
    images = torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return F.interpolate(images, (side, side), mode='bilinear'), mask


@pytest.mark.parametrize('side', [64, 75])
@pytest.mark.parametrize('name', NETWORKS)
def test_nothing_of_what_is_hidden_comes_out(name, side):
    model = build(*NETWORKS[name]).eval()
    layers, (images, mask) = LayerMasking(model, (side, side)), images_and_masks(side)
    hidden = mask.expand_as(images)
    with torch.no_grad():
        with layers.masked(images, mask) as visible:
            scores = model(visible)
        for value in (torch.nan, torch.inf, -1e30, 0.0, torch.randn(int(hidden.sum()))):
            other = images.clone()
            other[hidden] = value
            with layers.masked(other, mask) as visible:
                assert torch.equal(model(visible), scores)
        # Nor does any layer look at features of hidden positions: NaN in all of them changes no bit.
        with MaskedLayers(~mask, poison=torch.nan) as poisoned:
            assert torch.equal(model(poisoned.filled(images, 2)), scores)
        whole = model(images)
        with layers.masked(images, torch.zeros_like(mask)) as visible:
            assert torch.equal(model(visible), whole)
        assert torch.equal(scores[2], whole[2])  # an image of which nothing is hidden, in a batch of masked ones
        spread = whole.std()
        assert (scores[:2] - whole[:2]).abs().amax(1).min() > 0.01 * spread
        assert (scores[:2] - model(ConstantFill()(images, mask))[:2]).abs().amax(1).min() > 0.01 * spread
        seen = images.clone()
        seen[~hidden] += 1
        with layers.masked(seen, mask) as visible:
            assert (model(visible) - scores).abs().amax(1).min() > 0.01 * spread


@pytest.mark.parametrize('name', NETWORKS)
def test_no_gradient_reaches_what_is_hidden_in_training(name):
    model = build(*NETWORKS[name]).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    layers, (images, mask) = LayerMasking(model), images_and_masks(64)
    trained = []
    for value in (0.0, torch.nan):
        network = copy.deepcopy(model)
        layers = LayerMasking(network)
        inputs = images.masked_fill(mask, value).requires_grad_()
        with layers.masked(inputs, mask) as visible:
            torch.manual_seed(0)  # of drop path
            network(visible).square().sum().backward()
        reached = inputs.grad.abs().amax(1, keepdim=True) > 0
        assert not reached[mask].any() and reached[~mask].float().mean() > 0.9
        gradients = {
            name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None
        }
        statistics = {name: value for name, value in network.named_buffers() if 'running' in name}
        trained.append({**gradients, **statistics})
    first, second = trained
    assert first.keys() == second.keys() and all(value.isfinite().all() for value in second.values())
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    # Nothing hidden: the plain network's training, to the last bit.
    plain = copy.deepcopy(model)
    torch.manual_seed(0)
    expected = plain(images)
    torch.manual_seed(0)
    with LayerMasking(model).masked(images, torch.zeros_like(mask)) as visible:
        assert torch.equal(model(visible), expected)


@pytest.mark.parametrize('name', FORMER)
def test_other_networks_are_refused(name):
    backbone, match = FORMER[name]
    neck = None if name in ('vit', 'vgg', 'convnext-v2') else GAP
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32 if name == 'group-norm' else 16)
    model = MODELS.build(dict(type='ImageClassifier', backbone=copy.deepcopy(backbone), neck=neck, head=head))
    with pytest.raises(ValueError, match=f'nothing but convolutions, .* ConvNeXt with global average pooling.*{match}'):
        LayerMasking(model)


# ---------------------------------------------------------------------- training


HIDE = dict(type='mmmaskany.HideFromLayers', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8))


def masksub(name='resnet18-cifar', **changes):
    return build(*NETWORKS[name], **dict(dict(type='mmmaskany.MaskSubClassifier', sub_masking=HIDE), **changes)).train()


def batch(size=4, side=32):
    images = torch.randn(size, 3, side, side, generator=torch.Generator().manual_seed(0))
    return dict(inputs=images, data_samples=[DataSample().set_gt_label(index % 5) for index in range(size)])


@pytest.mark.parametrize('name', ['resnet18-cifar', 'maskany'])
@pytest.mark.parametrize('kind', [OptimWrapper, CpuAmpOptimWrapper])
def test_the_sub_branch_learns_from_what_is_visible_alone(name, kind):
    model, data = masksub(name), batch(side=64)
    calls, masks = [], []
    draw = model.sub_masking.draw
    model.sub_masking.draw = lambda images: masks.append(draw(images)) or masks[-1]
    model.backbone.register_forward_pre_hook(lambda module, args: calls.append(args[0]))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    options = dict(dtype='bfloat16') if issubclass(kind, AmpOptimWrapper) else {}
    logs = model.train_step(data, kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **options))
    assert logs['loss_main'].isfinite() and logs['loss_sub'].isfinite()
    main, sub = (call if isinstance(call, torch.Tensor) else call.visible for call in calls)
    mask = masks[0].pixel_mask(64, 64)
    assert torch.equal(main, data['inputs'])
    assert mask.float().mean() == 0.5 and torch.equal(sub[~mask.expand_as(sub)], main[~mask.expand_as(main)])
    assert not torch.equal(sub, main)
    assert any(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_the_loss_of_the_sub_branch_does_not_depend_on_what_is_hidden():
    losses = []
    model, scores = masksub(), torch.randn(4, 5)
    for value in (None, 0.0, 1e4):
        images = batch()['inputs']
        torch.manual_seed(3)
        mask = model.sub_masking.draw(images).pixel_mask(32, 32)
        if value is not None:
            images = images.masked_fill(mask, value)
        torch.manual_seed(3)
        losses.append(model.sub_loss(images, scores)['loss_sub'])
    assert losses[0] == losses[1] == losses[2]
    plain = masksub(sub_masking=dict(HIDE, type='mmmaskany.FillCells'))
    torch.manual_seed(3)
    assert plain.sub_loss(batch()['inputs'], scores)['loss_sub'] != losses[0]


def test_it_trains_from_a_config(tiny_config, tmp_path):
    pattern = dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=4, base=4)
    backbone = dict(_delete_=True, type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    model = dict(type='mmmaskany.MaskSubClassifier', backbone=backbone, sub_masking=dict(HIDE, pattern=pattern))
    cfg = Config.fromfile(tiny_config(model=model, train_cfg=dict(max_epochs=1), work_dir=str(tmp_path / 'work')))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    runner.train()
    logs = runner.message_hub.log_scalars
    assert logs['train/loss_sub'].current() > 0 and logs['val/accuracy/top1'].current() >= 0
    fresh = Runner.from_cfg(Config(dict(cfg, experiment_name='fresh', work_dir=str(tmp_path / 'fresh')))).model
    fresh.init_weights()
    before, after = fresh.state_dict(), runner.model.state_dict()
    assert before.keys() == after.keys() and all(value.isfinite().all() for value in after.values())
    assert all(not torch.equal(after[name], before[name]) for name in after if name.endswith('running_var'))
    assert {'backbone.conv1.weight', 'head.fc.weight'} <= {
        name for name in after if not torch.equal(after[name], before[name])
    }


def test_what_does_not_go_with_it_is_refused_when_built():
    head = dict(type='LinearClsHead', num_classes=5, in_channels=16)
    cnn = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=2)
    for backbone, neck, match in (
        (dict(cnn, with_cp=True), GAP, r'needs with_cp=False, but `backbone` \(ResNet_CIFAR\) has with_cp=True'),
        (dict(cnn, norm_cfg=dict(type='SyncBN')), GAP, '`backbone.bn1` is a SyncBatchNorm'),
        (FORMER['vit'][0], None, 'in MaskSubClassifier `backbone.layers.0.attn`'),
    ):
        model = dict(type='mmmaskany.MaskSubClassifier', backbone=backbone, neck=neck, head=head, sub_masking=HIDE)
        with pytest.raises(ValueError, match=match):
            MODELS.build(copy.deepcopy(model))
