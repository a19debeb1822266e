# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub: what its two branches see and lose, and how a step trains on both."""

import functools

import mask_sub_training
import pytest
import torch
import torch.nn.functional as F
from mask_sub_training import ARCH, STEPS, classifier, train, train_in_two_processes
from mmcv.cnn.bricks import DropPath
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from torch import nn
from two_processes import second_process

from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine import CpuAmpOptimWrapper, OwnStepDistributedDataParallel
from mmmaskany.experiments.timing import Work
from mmmaskany.masking import Views, half_size
from mmmaskany.models.classifiers import MaskSubClassifier
from mmmaskany.models.sub_masking import DropTokens, FillCells, RaiseDropout, ReplacePatches

VIT = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8)
DEIT = dict(VIT, type='DistilledVisionTransformer')
DEIT3 = dict(VIT, type='DeiT3')
SWIN = dict(
    type='SwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
    img_size=64,
    window_size=4,
    out_indices=(1,),
    drop_path_rate=0.0,
)
CNN = dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
GAP = dict(type='GlobalAveragePooling')
SOFTMAX = dict(type='CrossEntropyLoss')
FILL = dict(type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def build(backbone, channels, sub_masking, neck=None, loss=SOFTMAX, **kwargs):
    torch.manual_seed(0)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=channels, loss=loss)
    cfg = dict(backbone=backbone, neck=neck, head=head, sub_masking=sub_masking)
    return MODELS.build(dict(cfg, type='mmmaskany.MaskSubClassifier', **kwargs)).train()


def cnn(**kwargs):
    return build(CNN, 32, FILL, GAP, **kwargs)


def labelled(images):
    samples = [DataSample().set_gt_label(index % 5) for index in range(len(images))]
    return dict(inputs=images, data_samples=samples)


def wrap(model, kind=OptimWrapper, **kwargs):
    return kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def pattern(**kwargs):
    return dict(dict(type='mmmaskany.RandomPattern', cell=8, base=8), **kwargs)


# ---------------------------------------------------------------------- what the sub-branch sees


def tokens_by_hand(host, images):
    """Return the tokens of all patches, and those before them, each with its own position."""
    patches, _ = host.patch_embed(images)
    first = [host.cls_token, *([host.dist_token] if hasattr(host, 'dist_token') else [])]
    first = torch.cat(first, 1).expand(len(images), -1, -1)
    if type(host).__name__ == 'DeiT3':
        return first, patches + host.pos_embed
    count = first.shape[1]
    return first + host.pos_embed[:, :count], patches + host.pos_embed[:, count:]


@pytest.mark.parametrize(('ratio', 'kept'), [(0.5, 8), (0.25, 12)])
@pytest.mark.parametrize('cfg', [VIT, DEIT, DEIT3, dict(VIT, pre_norm=True)], ids=lambda cfg: str(cfg)[10:20])
def test_tokens_are_dropped_exactly(cfg, ratio, kept):
    host = MODELS.build(dict(cfg))
    for parameter in host.parameters():  # positions, class tokens and all else differ
        torch.nn.init.normal_(parameter, std=0.3)
    sub = DropTokens(pattern(ratio=ratio))
    sub.bind(host)
    images = torch.randn(3, 3, 32, 32)
    torch.manual_seed(1)
    mask = sub.pattern.draw(3, 32, 32).mask.flatten(1)
    assert mask.sum(1).tolist() == [16 - kept] * 3

    first, patches = tokens_by_hand(host, images)
    x = torch.stack([torch.cat([f, p[~m]]) for f, p, m in zip(first, patches, mask, strict=True)])
    x = host.pre_norm(x) if hasattr(host, 'pre_norm') else x
    assert x.shape[1] == kept + host.num_extra_tokens
    for layer in host.layers:
        x = layer(x)
    x = host.ln1(x)

    torch.manual_seed(1)
    with sub.masked(host, images) as seen:
        assert seen is images
        (output,) = host(seen)
    output = output if isinstance(output, tuple) else (output,)
    assert len(output) == host.num_extra_tokens
    for index, token in enumerate(output):
        torch.testing.assert_close(token, x[:, index])
    # Outside of it the host is itself again.
    whole = torch.cat([first, patches], 1)
    whole = host.pre_norm(whole) if hasattr(host, 'pre_norm') else whole
    for layer in host.layers:
        whole = layer(whole)
    (output,) = host(images)
    torch.testing.assert_close(output[0] if isinstance(output, tuple) else output, host.ln1(whole)[:, 0])


def test_default_patterns_are_the_papers():
    vit, swin = MODELS.build(dict(VIT, img_size=224, patch_size=16)), MODELS.build(dict(SWIN, img_size=224))
    drop, replace, fill = DropTokens(), ReplacePatches(), FillCells()
    drop.bind(vit)
    replace.bind(swin)
    assert drop.masked_tokens(224, 224) == 98  # 98 of 196 stay
    assert [part.pattern.cell for part in (drop, replace, fill)] == [(16,), (32,), (32,)]
    assert {part.pattern.ratio for part in (drop, replace, fill)} == {0.5}


@pytest.mark.parametrize(('absolute', 'ratio', 'masked'), [(False, 0.5, 2), (True, 0.5, 2), (False, 0.25, 1)])
def test_patches_are_replaced_by_the_token(absolute, ratio, masked):
    host = MODELS.build(dict(SWIN, use_abs_pos_embed=absolute))
    sub = ReplacePatches(pattern(ratio=ratio, cell=32, base=32))
    sub.bind(host)
    torch.nn.init.normal_(sub.token)
    if absolute:
        torch.nn.init.normal_(host.absolute_pos_embed)
    seen = []
    host.drop_after_pos.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    images = torch.randn(2, 3, 64, 64)
    with sub.masked(host, images) as given:
        host(given)
    host(images)
    # The position embedding is added after the token.
    inside, outside = (tokens - (host.absolute_pos_embed if absolute else 0) for tokens in seen)
    replaced = (inside - sub.token).abs().amax(2) < 1e-5
    torch.testing.assert_close(inside[~replaced], outside[~replaced])
    cells = replaced.view(2, 2, 8, 2, 8).float().mean((2, 4))  # 2 x 2 cells of 8 x 8 patches
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    assert cells.sum((1, 2)).tolist() == [masked] * 2  # of four: r masks r, and not 1 - r


@pytest.mark.parametrize(('ratio', 'masked'), [(0.5, 8), (0.25, 4)])
def test_cells_are_filled(ratio, masked):
    images = torch.randn(2, 3, 32, 32)
    before = images.clone()
    with FillCells(pattern(ratio=ratio)).masked(None, images) as filled:
        cells = (filled == 0).view(2, 3, 4, 8, 4, 8).float().mean((1, 3, 5))
        assert torch.equal(filled[filled != 0], images[filled != 0])
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    assert cells.sum((1, 2)).tolist() == [masked] * 2  # r masks r, and not 1 - r
    assert torch.equal(images, before)


def test_masking_comes_after_mixup_and_both_branches_see_the_same():
    model = cnn(
        train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]),
        data_preprocessor=dict(num_classes=5, mean=[0.5] * 3, std=[2.0] * 3),
    )
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images = torch.rand(4, 3, 32, 32)
    model.train_step(labelled(images), wrap(model))
    main, sub = seen
    assert not torch.allclose(main, (images - 0.5) / 2.0)
    assert torch.equal(sub, torch.where(sub == 0, 0, main))
    assert (sub == 0).float().mean() == 0.5


@pytest.mark.parametrize('fuse_at', ['stem', 'levels', 'neck'])
def test_a_second_stem_sees_nothing_of_what_the_sub_branch_masks(fuse_at):
    quarter = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
    backbone = dict(type='mmmaskany.MaskAny', backbone=dict(CNN, type='mmpretrain.ResNet_CIFAR'), fuse_at=fuse_at)
    neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=32, neck=GAP) if fuse_at == 'neck' else GAP
    model = build(dict(backbone, masking=quarter), 32, FILL, neck)
    views = []
    own = model.backbone.views
    model.backbone.views = lambda *args: views.append(own(*args)) or views[-1]
    images = torch.randn(2, 3, 32, 32)
    model.train_step(labelled(images), wrap(model))
    (main, main_reused, _), (sub, sub_reused, _) = views
    assert (main == 0).float().mean() == 0.25  # as the backbone says
    assert torch.equal(main_reused.flatten().sort().values, images[main == 0].sort().values)
    assert (sub == 0).float().mean() == 0.5
    assert torch.equal(sub, torch.where(sub == 0, 0, images))
    assert torch.equal(sub_reused, half_size(sub))

    # A ready pair, as the data pipeline makes it.
    views.clear()
    model.sub_loss(Views(main, main_reused), torch.zeros(2, 5))
    assert torch.equal(views[0][1], half_size(views[0][0]))


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='mmmaskany.MaskAny', backbone=dict(VIT, type='mmpretrain.VisionTransformer')),
        dict(VIT, type='mmmaskany.MaskVisionTransformer'),
    ],
    ids=['around a host', 'of the paper'],
)
def test_tokens_of_a_vision_transformer_with_two_stems_are_dropped(backbone):
    model = build(backbone, 16, dict(type='mmmaskany.DropTokens'))
    counts = []
    model.backbone.layers[1].register_forward_pre_hook(lambda layer, args: counts.append(args[0].shape[1]))
    model.train_step(labelled(torch.randn(2, 3, 32, 32)), wrap(model))
    assert counts == [17, 9]


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='mmmaskany.MaskAny', backbone=dict(SWIN, type='mmpretrain.SwinTransformer')),
        dict(SWIN, type='mmmaskany.MaskSwinTransformer'),
    ],
    ids=['around a host', 'of the paper'],
)
def test_patches_of_two_stems_are_replaced_after_their_fusion(backbone):
    model = build(backbone, 16, dict(type='mmmaskany.ReplacePatches'), GAP)
    torch.nn.init.normal_(model.sub_masking.token)
    replaced = []
    model.backbone.drop_after_pos.register_forward_hook(
        lambda module, args, output: replaced.append((args[0] == model.sub_masking.token).all(2).float().mean().item())
    )
    model.train_step(labelled(torch.randn(2, 3, 64, 64)), wrap(model))
    assert replaced == [0, 0.5]


# ---------------------------------------------------------------------- what the branches lose


@pytest.mark.parametrize(
    ('loss', 'scale'),
    [
        (SOFTMAX, 1.0),
        (dict(type='LabelSmoothLoss', label_smooth_val=0.3, num_classes=5, loss_weight=2.0), 2.0),
        (dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=5, mode='original', use_sigmoid=True), 1.0),
    ],
    ids=['softmax', 'smooth', 'sigmoid'],
)
@pytest.mark.parametrize('two_passes', [True, False])
def test_losses_by_hand(loss, scale, two_passes):
    model = cnn(loss=loss, two_passes=two_passes)
    images = torch.randn(4, 3, 32, 32)
    data = labelled(images)
    scores = []
    model.head.register_forward_hook(lambda head, args, output: scores.append(output.detach()))
    logs = model.train_step(data, wrap(model))
    main, sub = scores
    if loss.get('use_sigmoid'):
        expected = F.binary_cross_entropy_with_logits(sub, main.sigmoid(), reduction='sum') / 4
    else:
        expected = -(main.softmax(1) * sub.log_softmax(1)).sum(1).mean()
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    whole = model.head.loss_module(main, labels, avg_factor=4)
    torch.testing.assert_close(logs['loss_sub'], 0.5 * scale * expected)
    torch.testing.assert_close(logs['loss_main'], 0.5 * whole)
    torch.testing.assert_close(logs['loss'], logs['loss_main'] + logs['loss_sub'])
    assert list(logs)[:2] == ['loss', 'loss_main']


def test_other_losses_of_the_head_are_halved_and_its_accuracy_is_not():
    model = cnn()
    model.head.cal_acc, model.head.topk = True, (1,)
    images = torch.randn(5, 3, 32, 32)
    data = labelled(images)
    plain = model.head.loss(model.extract_feat(images), data['data_samples'])
    losses, scores = model.main_loss(images, data['data_samples'])
    assert losses.keys() == {'loss_main', 'accuracy_top-1'}
    assert losses['accuracy_top-1'] == plain['accuracy_top-1']
    torch.testing.assert_close(losses['loss_main'], 0.5 * plain['loss'])
    assert scores.shape == (5, 5) and not scores.requires_grad


CONVNEXT = dict(type='ConvNeXt', arch=dict(depths=[1, 1], channels=[8, 16]), out_indices=(1,))
MIXER = dict(
    type='MlpMixer',
    arch=dict(embed_dims=16, num_layers=1, tokens_mlp_dims=8, channels_mlp_dims=16),
    img_size=32,
    patch_size=8,
)
ANY = {
    'one image': (CNN, GAP, dict(type='StackedLinearClsHead', mid_channels=[8]), 32),
    'patches first': (CONVNEXT, None, dict(type='LinearClsHead'), 16),
    'BEiT': (dict(VIT, type='BEiTViT', out_type='avg_featmap'), None, dict(type='LinearClsHead'), 16),
    'mixer': (MIXER, dict(GAP, dim=1), dict(type='LinearClsHead'), 16),
    'mean of tokens': (dict(VIT, out_type='avg_featmap'), None, dict(type='LinearClsHead'), 16),
    'hidden layer': (VIT, None, dict(type='VisionTransformerClsHead', hidden_dim=8), 16),
    'two tokens': (DEIT, None, dict(type='DeiTClsHead'), 16),
}
PATCHES = dict(type='mmmaskany.ReplacePatches', pattern=pattern(ratio=0.5))
TOKENS = dict(type='mmmaskany.DropTokens')


@pytest.mark.filterwarnings('ignore:MMPretrain cannot train the distilled')
@pytest.mark.parametrize(
    ('network', 'sub_masking'),
    [
        ('one image', FILL),
        ('patches first', FILL),
        ('BEiT', FILL),
        ('BEiT', PATCHES),
        ('mixer', PATCHES),
        ('mean of tokens', PATCHES),
        ('mean of tokens', TOKENS),
        ('hidden layer', TOKENS),
        ('two tokens', TOKENS),
    ],
)
def test_any_classifier_of_mmpretrain(network, sub_masking):
    backbone, neck, head, channels = ANY[network]
    torch.manual_seed(0)
    head = dict(head, num_classes=5, in_channels=channels)
    cfg = dict(backbone=backbone, neck=neck, head=head, sub_masking=sub_masking)
    model = MODELS.build(dict(cfg, type='mmmaskany.MaskSubClassifier')).train()
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    scores = []
    model.head.register_forward_hook(lambda head, args, output: scores.append(output.detach()))
    logs = model.train_step(labelled(torch.randn(4, 3, 32, 32)), wrap(model, accumulative_counts=2))
    main, sub = scores
    assert not torch.allclose(main, sub)
    torch.testing.assert_close(logs['loss_sub'], -0.5 * (main.softmax(1) * sub.log_softmax(1)).sum(1).mean())
    unused = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # What the sub-branch alone learns has a gradient, and all that the main branch trains.
    assert unused <= {'backbone.cls_token', 'backbone.layers.0.attn.relative_position_bias_table'}, unused


def test_several_labels():
    torch.manual_seed(0)
    head = dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=32)
    cfg = dict(type='mmmaskany.MaskSubClassifier', backbone=CNN, neck=GAP, head=head, sub_masking=FILL)
    model = MODELS.build(dict(cfg, data_preprocessor=dict(num_classes=5, to_onehot=True))).train()
    samples = [DataSample().set_gt_label([0, 3]).set_gt_score(torch.tensor([1.0, 0, 0, 1, 0])) for _ in range(2)]
    logs = model.train_step(dict(inputs=torch.randn(2, 3, 32, 32), data_samples=samples), wrap(model))
    assert 0 < logs['loss_sub'] < logs['loss_main'] * 2


def test_inference_is_the_hosts():
    model = build(DEIT3, 16, dict(type='mmmaskany.DropTokens'))
    cfg = dict(type='ImageClassifier', backbone=DEIT3, head=dict(type='LinearClsHead', num_classes=5, in_channels=16))
    host = MODELS.build(cfg)
    host.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    for part in (model, host):
        part.eval()
    assert torch.equal(model(images), host(images))
    assert model.get_layer_depth('backbone.layers.1.ln1.weight') == host.get_layer_depth('backbone.layers.1.ln1.weight')


# ---------------------------------------------------------------------- the step


@pytest.mark.parametrize(
    'make', [cnn, lambda **kwargs: build(SWIN, 16, dict(type='mmmaskany.ReplacePatches'), GAP, **kwargs)]
)
def test_two_passes_make_the_gradients_of_one(make):
    found = []
    for two_passes in (True, False):
        model = make(two_passes=two_passes)
        optim_wrapper = wrap(model, accumulative_counts=2)  # gradients stay
        torch.manual_seed(3)
        optim_wrapper.initialize_count_status(model, 0, 2)
        model.train_step(labelled(torch.randn(3, 3, 64, 64)), optim_wrapper)
        assert optim_wrapper.inner_count == 1
        found.append(gradients(model))
    torch.testing.assert_close(*found)
    assert all(grad.abs().sum() > 0 for name, grad in found[0].items() if 'token' in name)


def test_a_step_with_plain_gradients_by_hand():
    model = classifier()
    data = labelled(torch.randn(2, 3, 32, 32))
    model.train_step(data, wrap(model, accumulative_counts=2))
    found = gradients(model)
    model.zero_grad()
    losses, scores = model.main_loss(data['inputs'], data['data_samples'])
    (losses['loss_main'] / 2).backward()
    (model.sub_loss(data['inputs'], scores)['loss_sub'] / 2).backward()
    torch.testing.assert_close(found, gradients(model))


def test_one_branch_is_in_memory_at_a_time():
    peaks = []
    for two_passes in (True, False):
        model = cnn(two_passes=two_passes)
        data, optim_wrapper = labelled(torch.randn(16, 3, 64, 64)), wrap(model)
        work = Work(model, lambda m=model, d=data, o=optim_wrapper: m.train_step(d, o), optim_wrapper.optimizer)
        work()
        peaks.append(work.peak())
    assert peaks[0] < 0.65 * peaks[1]


@pytest.mark.parametrize('two_passes', [True, False])
def test_statistics_of_batch_norms(two_passes):
    found = {}
    for sub_norm in ('update', 'freeze'):
        model = cnn(sub_norm=sub_norm, two_passes=two_passes)
        optim_wrapper = wrap(model, accumulative_counts=2)
        torch.manual_seed(3)
        data = labelled(torch.randn(4, 3, 32, 32) + 1)
        model.train_step(data, optim_wrapper)
        found[sub_norm] = model.backbone.norm1, gradients(model)
    (update, some), (freeze, same) = found.values()
    torch.testing.assert_close(some, same)
    assert update.num_batches_tracked == 2 and freeze.num_batches_tracked == 1
    assert update.track_running_stats and freeze.track_running_stats
    host = cnn()
    host.main_loss(data['inputs'], data['data_samples'])
    assert torch.equal(freeze.running_mean, host.backbone.norm1.running_mean)
    assert not torch.allclose(update.running_mean, freeze.running_mean)


def test_accumulation_counts_a_step_once():
    model = classifier()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optim_wrapper = wrap(model, accumulative_counts=2)
    optim_wrapper.initialize_count_status(model, 0, 3)  # the third step is a group of its own
    changed = []
    for step in range(3):
        model.train_step(labelled(torch.randn(2, 3, 32, 32)), optim_wrapper)
        assert optim_wrapper.inner_count == step + 1
        changed.append(any(not torch.equal(before[name], p) for name, p in model.named_parameters()))
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert changed == [False, True, True]


def test_gradients_are_clipped_together():
    model = classifier()
    data = labelled(torch.randn(2, 3, 32, 32))
    keep = wrap(model, accumulative_counts=2)
    model.train_step(data, keep)
    whole = torch.stack([2 * grad.norm() for grad in gradients(model).values()]).norm()
    model.zero_grad()
    optim_wrapper = wrap(model, clip_grad=dict(max_norm=0.01))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train_step(data, optim_wrapper)
    steps = torch.stack([(before[name] - p).norm() for name, p in model.named_parameters()]).norm()
    torch.testing.assert_close(steps.item(), 0.1 * 0.01, rtol=1e-3, atol=0)
    norm = optim_wrapper.message_hub.get_scalar('train/grad_norm').current()
    torch.testing.assert_close(norm, whole.item(), rtol=1e-4, atol=0)


@pytest.mark.parametrize('kind', ['fill', 'replace', 'drop', 'two stems'])
def test_mixed_precision(kind):
    two = dict(type='mmmaskany.MaskAny', backbone=dict(VIT, type='mmpretrain.VisionTransformer'))
    two['masking'] = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8, base=8))
    make = {
        'fill': cnn,
        'replace': lambda: build(SWIN, 16, dict(type='mmmaskany.ReplacePatches'), GAP),
        'drop': lambda: build(VIT, 16, TOKENS),
        'two stems': lambda: build(two, 16, TOKENS),
    }[kind]
    full, mixed = (make() for _ in range(2))
    side = 64 if kind == 'replace' else 32
    data = labelled(torch.randn(4, 3, side, side))
    dtypes = []
    mixed.head.register_forward_hook(lambda head, args, output: dtypes.append(output.dtype))
    logs = []
    for model, kind in ((full, OptimWrapper), (mixed, CpuAmpOptimWrapper)):
        torch.manual_seed(0)
        logs.append(model.train_step(data, wrap(model, kind)))
    assert dtypes == [torch.bfloat16] * 2
    for name in ('loss_main', 'loss_sub'):
        torch.testing.assert_close(logs[1][name].float(), logs[0][name], rtol=0.05, atol=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.01)])
def test_scaled_losses_of_a_gpu(monkeypatch, clip):
    # MMEngine's own wrapper for mixed precision, with a scaler for the CPU in place of the GPU's.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', functools.partial(torch.amp.GradScaler, 'cpu'))
    data = labelled(torch.randn(4, 3, 32, 32))
    weights = []
    for kind, args in ((CpuAmpOptimWrapper, {}), (AmpOptimWrapper, dict(dtype='bfloat16', loss_scale=256.0))):
        model = cnn()
        optim_wrapper = wrap(model, kind, accumulative_counts=2, clip_grad=clip, **args)
        optim_wrapper.initialize_count_status(model, 0, 4)
        for step in range(4):
            torch.manual_seed(step)
            model.train_step(data, optim_wrapper)
        assert optim_wrapper.inner_count == 4
        weights.append({name: parameter.detach() for name, parameter in model.named_parameters()})
    assert optim_wrapper.loss_scaler.get_scale() == 256.0
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)
    assert not torch.equal(weights[0]['head.fc.weight'], cnn().head.fc.weight)


def test_averaged_weights_are_those_of_the_steps():
    model = build(SWIN, 16, dict(type='mmmaskany.ReplacePatches'), GAP)
    averaged = ExponentialMovingAverage(model, momentum=0.25)
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for step in range(3):
        model.train_step(labelled(torch.randn(2, 3, 64, 64)), wrap(model))
        averaged.update_parameters(model)
        for name, parameter in model.named_parameters():
            # The first step is copied, as MMEngine does.
            expected[name] = parameter.detach().clone() if step == 0 else expected[name].lerp(parameter.detach(), 0.25)
    found = dict(averaged.module.named_parameters())
    assert 'sub_masking.token' in found and not torch.equal(expected['sub_masking.token'], model.sub_masking.token)
    torch.testing.assert_close({name: found[name].detach() for name in expected}, expected)
    averaged.eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(averaged(images), averaged(images))  # nothing is masked at test time


@pytest.mark.parametrize(
    ('backbone', 'channels', 'sub_masking', 'neck'),
    [(CNN, 32, FILL, GAP), (VIT, 16, TOKENS, None), (SWIN, 16, dict(type='mmmaskany.ReplacePatches'), GAP)],
)
def test_clipped_gradients_of_every_kind(backbone, channels, sub_masking, neck):
    model = build(backbone, channels, sub_masking, neck)
    side = 64 if backbone is SWIN else 32
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train_step(labelled(torch.randn(2, 3, side, side)), wrap(model, clip_grad=dict(max_norm=0.01)))
    steps = torch.stack([(before[name] - p).norm() for name, p in model.named_parameters()]).norm()
    torch.testing.assert_close(steps.item(), 0.1 * 0.01, rtol=1e-3, atol=0)


def test_two_processes_take_the_same_steps_as_one(tmp_path):
    with second_process(mask_sub_training.__file__, tmp_path):
        for accumulate, _, weights, sent in train_in_two_processes(0, tmp_path):
            assert sent == STEPS // accumulate  # once per update, and never for the main pass
            torch.testing.assert_close(weights, train(classifier(), accumulate))


def test_the_wrapper_is_for_models_with_a_step_of_their_own():
    with pytest.raises(ValueError, match=r'ResNet_CIFAR must have a train_step\(data, optim_wrapper, run\)'):
        OwnStepDistributedDataParallel(cnn().backbone)
    host = MODELS.build(dict(type='ImageClassifier', backbone=CNN))
    with pytest.raises(ValueError, match='ImageClassifier must have.*leave model_wrapper_cfg out'):
        OwnStepDistributedDataParallel(host)


def test_a_resumed_run_is_the_undisturbed_one(tiny_config, tool, tmp_path):
    # With MaskAny, mixup, cutmix and averaged weights: all that is random.
    sub = dict(FILL, pattern=pattern(ratio=0.5, cell=4, base=4))
    config = tiny_config(model=dict(type='mmmaskany.MaskSubClassifier', sub_masking=sub))
    tool('train')([config, '--work-dir', str(tmp_path / 'whole'), '--no-validate'])
    half = str(tmp_path / 'whole' / 'epoch_1.pth')
    tool('train')([config, '--work-dir', str(tmp_path / 'resumed'), '--no-validate', '--resume', half])
    whole, resumed = (read_checkpoint(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'resumed'))
    for section in ('state_dict', 'ema_state_dict'):
        assert whole[section].keys() == resumed[section].keys()
        for name, tensor in whole[section].items():
            assert torch.equal(tensor, resumed[section][name]), name
    (log,) = (tmp_path / 'whole').glob('*/vis_data/scalars.json')
    assert all(name in log.read_text() for name in ('"loss"', '"loss_main"', '"loss_sub"'))


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ('changes', 'error', 'match'),
    [
        (dict(sub_masking=dict(pattern=None)), TypeError, "sub_masking must be dict.*but got {'pattern': None}"),
        (
            dict(sub_masking=dict(type='mmmaskany.MeanFill')),
            TypeError,
            'sub_masking must be a SubMasking, but got Mean',
        ),
        (dict(sub_masking=dict(type='mmmaskany.FilCells')), KeyError, 'did you mean mmmaskany.FillCells'),
        (dict(sub_norm='off'), ValueError, "sub_norm must be one of .*but got 'off'"),
        (dict(head=None), ValueError, 'head must return one tensor of them.* but got NoneType'),
        (
            dict(head=dict(type='ArcFaceClsHead', num_classes=5, in_channels=32)),
            ValueError,
            'head must return one tensor of them.* but got ArcFaceClsHead',
        ),
        (
            dict(head=dict(type='ContrastiveHead', loss=SOFTMAX)),
            ValueError,
            'head must return one tensor of them.* but got ContrastiveHead',
        ),
        (
            dict(head=dict(type='LinearClsHead', num_classes=5, in_channels=32, loss=dict(type='SeesawLoss'))),
            ValueError,
            'takes probabilities.* but got SeesawLoss, which needs hard labels',
        ),
        (
            dict(
                head=dict(type='LinearClsHead', num_classes=5, in_channels=32, cal_acc=True),
                train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
            ),
            ValueError,
            'cal_acc=True of LinearClsHead needs hard labels, but the batch augmentations',
        ),
        (dict(sub_masking=dict(type='mmmaskany.DropTokens')), ValueError, 'needs the tokens of.* but got ResNet_CIFAR'),
        (
            dict(sub_masking=dict(type='mmmaskany.ReplacePatches')),
            ValueError,
            'needs a backbone with a `patch_embed`.* but got ResNet_CIFAR: take FillCells',
        ),
        (
            dict(backbone=dict(CNN, with_cp=True), sub_norm='freeze'),
            ValueError,
            "sub_norm='freeze' does not go with with_cp=True",
        ),
        (dict(sub_masking=dict(FILL, pattern=pattern(ratio=1.0))), ValueError, r'ratio must be in \(0, 1\), but got 1'),
        (dict(sub_masking=dict(FILL, pattern=pattern(ratio=0.0))), ValueError, r'ratio must be in \(0, 1\), but got 0'),
        (dict(sub_masking=dict(FILL, fill=3)), TypeError, 'fill must be a Fill, but got int'),
        (
            dict(sub_masking=dict(FILL, pattern=3)),
            TypeError,
            'pattern must be a Pattern or MixturePattern, but got int',
        ),
    ],
)
def test_bad_input(changes, error, match):
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    cfg = dict(type='mmmaskany.MaskSubClassifier', backbone=CNN, neck=GAP, head=head, sub_masking=FILL)
    with pytest.raises(error, match=match):
        MODELS.build(dict(cfg, **changes))


def test_without_a_sub_masking_all_of_them_are_named():
    head = dict(type='LinearClsHead', num_classes=5, in_channels=32)
    with pytest.raises(TypeError, match='^sub_masking must be .* but got None$') as caught:
        MODELS.build(dict(type='mmmaskany.MaskSubClassifier', backbone=CNN, neck=GAP, head=head))
    for name in ('DropTokens', 'ReplacePatches', 'FillCells', 'HideFromLayers', 'RaiseDropout', 'RaiseDropPath'):
        assert f"'mmmaskany.{name}'" in str(caught.value)


MIXTURE = dict(type='mmmaskany.MixturePattern', patterns=[pattern(ratio=0.5)], probs=[0.5])


@pytest.mark.parametrize(
    ('backbone', 'kwargs', 'error', 'match'),
    [
        (VIT, dict(pattern=pattern(ratio=0.99)), ValueError, 'must mask at least one cell and leave one.*mask 16'),
        (VIT, dict(pattern=pattern(ratio=0.01)), ValueError, 'must mask at least one cell and leave one.*mask 0'),
        (VIT, dict(pattern=pattern(ratio=0.5, base=4)), ValueError, 'base.*must be a multiple of the patches of .* 8'),
        (VIT, dict(pattern=MIXTURE), ValueError, 'as many cells must be masked in every image'),
        (VIT, dict(pattern=pattern(ratio=0.4, cell=[8, 16])), ValueError, 'as many cells must be masked in every'),
        (dict(VIT, out_type='featmap'), {}, ValueError, "form no map, but VisionTransformer has out_type='featmap'"),
        (dict(VIT, type='ViTEVA02'), {}, ValueError, r"layers that take tokens alone.*\['x', 'patch_resolution'\]"),
        (SWIN, {}, ValueError, 'needs the tokens of.* but got SwinTransformer'),
    ],
)
def test_bad_input_of_dropping(backbone, kwargs, error, match):
    with pytest.raises(error, match=match):
        build(backbone, 16, dict(type='mmmaskany.DropTokens', **kwargs), None if backbone is not SWIN else GAP)


@pytest.mark.parametrize('fuse_at', ['levels', 'neck'])
def test_patches_of_two_images_are_not_masked_alike(fuse_at):
    backbone = dict(type='mmmaskany.MaskAny', backbone=dict(VIT, type='mmpretrain.VisionTransformer'), fuse_at=fuse_at)
    with pytest.raises(ValueError, match=f"fuse_at='{fuse_at}' runs on two"):
        build(backbone, 16, dict(type='mmmaskany.DropTokens'))


def test_a_head_that_hides_its_logits_is_named():
    model = cnn()
    model.head.forward = lambda feats: [feats[-1]]
    with pytest.raises(ValueError, match='LinearClsHead must return one tensor of logits'):
        model.main_loss(torch.randn(2, 3, 32, 32), labelled(torch.randn(2, 3, 1, 1))['data_samples'])


def test_configs_are_not_changed():
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)], probs=[0.3])
    for _ in range(2):
        assert isinstance(cnn(train_cfg=augments, data_preprocessor=dict(num_classes=5)), MaskSubClassifier)
    assert augments['probs'] == [0.3]


# ---------------------------------------------------------------------- sub-branches by dropout and by drop path


@pytest.mark.parametrize(
    ('kind', 'layer', 'attribute'), [('RaiseDropout', nn.Dropout, 'p'), ('RaiseDropPath', DropPath, 'drop_prob')]
)
def test_a_rate_is_raised_for_the_sub_branch_alone(kind, layer, attribute):
    model = build(VIT, 16, dict(type=f'mmmaskany.{kind}', rate=0.4))
    modules = [module for module in model.backbone.modules() if isinstance(module, layer)]
    assert len(modules) >= 2

    def rates():
        return {getattr(module, attribute) for module in modules}

    before, images = rates(), torch.randn(2, 3, 32, 32)
    assert before == {0.0}
    with model.sub_masking.masked(model.backbone, images) as seen:
        assert seen is images and rates() == {0.4}
        dropped, again = model.backbone(images)[0], model.backbone(images)[0]
    assert rates() == before and not torch.equal(dropped, again)
    torch.testing.assert_close(model.backbone(images), model.backbone(images), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match='in between'), model.sub_masking.masked(model.backbone, images):
        raise RuntimeError('in between')
    assert rates() == before
    losses = model.loss(**labelled(images))
    assert losses['loss_sub'].isfinite() and rates() == before


def test_rates_that_cannot_be_raised_are_refused():
    with pytest.raises(ValueError, match=r'rate must be in \(0, 1\), but got 1'):
        RaiseDropout(rate=1)
    with pytest.raises(ValueError, match=r"RaiseDropPath needs a backbone with modules \['DropPath'\].*take FillCells"):
        build(dict(type='MobileNetV2', widen_factor=0.25), 1280, dict(type='mmmaskany.RaiseDropPath'), GAP)
