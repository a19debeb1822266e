# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub for segmentation: what the heads lose in both branches, pixel by pixel, and what is refused."""

import copy
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from states import assert_same_state
from two_processes import second_process

pytest.importorskip('mmseg')

from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample

from mmmaskany.engine import CpuAmpOptimWrapper
from mmmaskany.experiments.timing import Work
from mmmaskany.masking import half_size
from mmmaskany.models.segmentors import MaskSubSegmentor, relaxed_pixel_loss
from mmmaskany.models.sub_masking import SubMasking

CLASSES, IGNORED = 5, 255
LEVELS = [4, 8, 16, 32]
BACKBONE = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, out_indices=(0, 1, 2, 3))
NORM = dict(type='BN')
FILL = dict(type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8))
SOFTMAX = dict(type='CrossEntropyLoss', loss_weight=1.0)


def head(kind='FCNHead', level=3, weight=1.0, **kwargs):
    loss = dict(SOFTMAX, loss_weight=weight)
    part = dict(in_channels=LEVELS[level], in_index=level, channels=4, num_classes=CLASSES, norm_cfg=NORM)
    return dict(part, type=kind, dropout_ratio=0.0, loss_decode=loss, **kwargs)


def config(**changes):
    part = dict(backbone=BACKBONE, decode_head=head(num_convs=1), auxiliary_head=head(level=2, weight=0.4, num_convs=1))
    return {
        'type': 'mmmaskany.MaskSubSegmentor',
        **part,
        'sub_masking': FILL,
        'test_cfg': dict(mode='whole'),
        **changes,
    }


def build(**changes):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(Config(config(**changes))._cfg_dict).train()


def host(**changes):
    """mmseg's own segmentor."""
    cfg = config(type='EncoderDecoder', **changes)
    del cfg['sub_masking']
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(Config(cfg)._cfg_dict).train()


def batch(count=2, side=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(count):
        labels = torch.randint(CLASSES, (1, side, side), generator=generator)
        labels[:, :5] = IGNORED
        sample = SegDataSample(metainfo=dict(img_shape=(side, side), ori_shape=(side, side)))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    images = torch.randn(count, 3, side, side, generator=generator)
    return dict(inputs=images, data_samples=samples)


def wrap(model, kind=OptimWrapper, **kwargs):
    return kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def record(model):
    """Keep what each head returns, call by call."""
    seen = {}
    for name, head in model.heads():
        head.register_forward_hook(lambda head, args, output, name=name: seen.setdefault(name, []).append(output))
    return seen


class Nothing(SubMasking):
    """Masks nothing."""

    @contextmanager
    def masked(self, backbone, images):
        yield images


# ---------------------------------------------------------------------- the losses


def by_hand(score, teacher, labels, align_corners=False):
    """Cross entropy of each pixel against the softmax of the teacher, over all pixels but those ignored."""
    score, teacher = (
        F.interpolate(logits.detach(), labels.shape[1:], mode='bilinear', align_corners=align_corners)
        for logits in (score, teacher)
    )
    each = -(teacher.softmax(1) * score.log_softmax(1)).sum(1)
    return each[labels != IGNORED].sum() / labels.numel()


@pytest.mark.parametrize('two_passes', [True, False])
def test_losses_by_hand(two_passes):
    model, data = build(two_passes=two_passes), batch()
    torch.testing.assert_close(dict(host().state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    seen = record(model)
    logs = model.train_step(data, wrap(model))
    plain = host().loss(**data)
    labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
    expected = {name: 0.5 * value if 'loss' in name else value.mean() for name, value in plain.items()}
    for name, weight in (('decode', 1.0), ('aux', 0.4)):
        main, sub = seen[name]
        assert not torch.equal(main, sub)
        expected[f'sub.{name}.loss_ce'] = 0.5 * weight * by_hand(sub, main, labels)
    assert logs.keys() == {'loss', *expected}
    torch.testing.assert_close({name: logs[name] for name in expected}, expected, rtol=1e-4, atol=1e-6)
    total = sum(value for name, value in expected.items() if 'loss' in name)
    torch.testing.assert_close(logs['loss'], total, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_plain_loss_and_the_relaxed_one():
    # A mask of nothing: the sub-branch sees what the main branch sees.
    model, data = build(sub_masking=dict(type=Nothing), auxiliary_head=None), batch()
    model.train_step(data, wrap(model, accumulative_counts=2))  # gradients stay, halved
    plain = host(auxiliary_head=None)
    labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
    score = plain.decode_head(plain.extract_feat(data['inputs']))
    resized = F.interpolate(score, labels.shape[1:], mode='bilinear', align_corners=False)
    of_labels = F.cross_entropy(resized, labels, ignore_index=IGNORED, reduction='sum') / labels.numel()
    target = resized.detach().softmax(1)
    relaxed = -(target * resized.log_softmax(1)).sum(1)[labels != IGNORED].sum() / labels.numel()
    ((0.5 * of_labels + 0.5 * relaxed) / 2).backward()
    torch.testing.assert_close(gradients(model), gradients(plain), rtol=1e-4, atol=1e-6)


LOSSES = {
    'softmax': {},
    'of those that count': dict(avg_non_ignore=True),
    'classes weigh': dict(class_weight=[0.5, 1.0, 2.0, 1.5, 0.1], loss_weight=0.4),
    'classes weigh, of those that count': dict(class_weight=[0.5, 1.0, 2.0, 1.5, 0.1], avg_non_ignore=True),
    'sigmoid': dict(use_sigmoid=True, loss_weight=2.0),
    'sigmoid, of those that count': dict(use_sigmoid=True, avg_non_ignore=True),
    'sum': dict(reduction='sum'),
    'maps': dict(reduction='none'),
}


@pytest.mark.parametrize('name', LOSSES)
def test_of_a_certain_teacher_it_is_the_loss_of_the_labels(name):
    loss = CrossEntropyLoss(**LOSSES[name])
    torch.manual_seed(0)
    score = torch.randn(2, CLASSES, 6, 7, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 6, 7))
    valid = torch.ones_like(labels, dtype=torch.bool)
    if 'weigh' not in name:  # mmseg itself fails at ignored pixels where classes weigh
        valid[:, :2] = False
    teacher = 1e4 * (2 * F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float() - 1)
    try:
        expected = loss(score, labels.masked_fill(~valid, IGNORED), ignore_index=IGNORED).mean()
    except IndexError:
        assert name == 'classes weigh, of those that count'
        pytest.skip('the mmseg of the forks fails here, with all labels')
    (wanted,) = torch.autograd.grad(expected, score)
    found = relaxed_pixel_loss(loss, score, teacher, valid)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(3 * found, score)
    torch.testing.assert_close(gradient, 3 * wanted)
    with torch.no_grad():
        torch.testing.assert_close(relaxed_pixel_loss(loss, score, teacher, valid), expected)


def test_one_channel_for_two_classes():
    loss = CrossEntropyLoss(use_sigmoid=True)
    score, teacher = torch.randn(2, 2, 1, 4, 4)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[0] = False
    expected = F.binary_cross_entropy_with_logits(score[1], teacher[1].sigmoid(), reduction='sum') / 32
    torch.testing.assert_close(relaxed_pixel_loss(loss, score, teacher, valid), expected)


def test_a_batch_without_a_label_is_zero():
    loss = CrossEntropyLoss(avg_non_ignore=True)
    score = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    found = relaxed_pixel_loss(loss, score, score, torch.zeros(1, 4, 4, dtype=torch.bool))
    found.backward()
    assert found == 0 and not score.grad.any()


def test_of_the_labels_the_sub_branch_sees_where_there_are_none():
    model, data = build(), batch()
    _, scores = model.main_loss(**data)
    other = batch(seed=1)['data_samples']  # other classes, the same pixels ignored
    losses = []
    for samples in (data['data_samples'], other):
        torch.manual_seed(1)
        losses.append(model.sub_loss(data['inputs'], scores, samples))
    torch.testing.assert_close(*losses)
    ignored = copy.deepcopy(other)
    for sample in ignored:
        sample.gt_sem_seg.data[:, 8:] = IGNORED
    torch.manual_seed(1)
    fewer = model.sub_loss(data['inputs'], scores, ignored)
    assert 0 < fewer['sub.decode.loss_ce'] < 0.3 * losses[0]['sub.decode.loss_ce']


def test_of_several_losses_the_sub_branch_has_the_cross_entropies():
    several = [
        dict(SOFTMAX),
        dict(type='LovaszLoss', reduction='none', loss_name='loss_lovasz'),
        dict(type='DiceLoss', loss_name='loss_dice'),
        dict(SOFTMAX, use_sigmoid=True, loss_weight=0.3),
    ]
    model, data = build(decode_head=head(num_convs=1) | dict(loss_decode=several), auxiliary_head=None), batch()
    losses, scores = model.main_loss(**data)
    sub = model.sub_loss(data['inputs'], scores, data['data_samples'])
    assert losses.keys() == {'decode.loss_ce', 'decode.loss_lovasz', 'decode.loss_dice', 'decode.acc_seg'}
    assert sub.keys() == {'sub.decode.loss_ce'}
    first = build(decode_head=head(num_convs=1) | dict(loss_decode=several[:1]), auxiliary_head=None)
    torch.manual_seed(0)
    both = model.sub_loss(data['inputs'], scores, data['data_samples'])['sub.decode.loss_ce']
    torch.manual_seed(0)
    one = first.sub_loss(data['inputs'], scores, data['data_samples'])['sub.decode.loss_ce']
    assert both > 1.05 * one


ALL = dict(in_channels=LEVELS, in_index=[0, 1, 2, 3])
FPN = dict(ALL, in_channels=[8] * 4, feature_strides=[4, 8, 16, 32])
HEADS = {
    'UPerHead': dict(ALL, pool_scales=(1, 2)),
    'FPNHead': FPN,
    'PSPHead': dict(pool_scales=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(c1_in_channels=4, c1_channels=4, dilations=(1, 2)),
    'SegformerHead': dict(ALL, align_corners=True),
}


@pytest.mark.parametrize('name', HEADS)
def test_any_head_with_one_map(name):
    neck = dict(type='FPN', in_channels=LEVELS, out_channels=8, num_outs=4) if name == 'FPNHead' else None
    several = None if neck else [head(num_convs=1), head(level=2, weight=0.4, num_convs=1)]
    model = build(decode_head=head(name) | HEADS[name], auxiliary_head=several, neck=neck)
    seen, data = record(model), batch(side=64)
    logs = model.train_step(data, wrap(model, accumulative_counts=2))
    weights = dict(decode=1.0) if neck else dict(decode=1.0, aux_0=1.0, aux_1=0.4)
    labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
    corners = name == 'SegformerHead'
    expected = {
        f'sub.{part}.loss_ce': 0.5 * weight * by_hand(*seen[part][::-1], labels, corners and part == 'decode')
        for part, weight in weights.items()
    }
    found = {key: value for key, value in logs.items() if key.startswith('sub.')}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


# ---------------------------------------------------------------------- the step


def test_two_passes_make_the_gradients_of_one():
    found = []
    for two_passes in (True, False):
        model = build(two_passes=two_passes)
        optim_wrapper = wrap(model, accumulative_counts=2)
        optim_wrapper.initialize_count_status(model, 0, 2)
        torch.manual_seed(3)
        model.train_step(batch(), optim_wrapper)
        assert optim_wrapper.inner_count == 1
        found.append(gradients(model))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_one_branch_is_in_memory_at_a_time():
    # Many classes and small networks, so that the maps of the size of the labels weigh most.
    data, peaks = batch(8, 64), []
    for make in (host, build, lambda: build(two_passes=False)):
        model = make()
        optim_wrapper = wrap(model)
        work = Work(model, lambda m=model, o=optim_wrapper: m.train_step(data, o), optim_wrapper.optimizer)
        work()
        peaks.append(work.peak())
    plain, two, one = peaks
    assert two < 1.05 * plain < 1.6 * plain < one


def test_mixed_precision():
    full, mixed = build(), build()
    dtypes = []
    mixed.decode_head.register_forward_hook(lambda head, args, output: dtypes.append(output.dtype))
    logs = []
    for model, kind in ((full, OptimWrapper), (mixed, CpuAmpOptimWrapper)):
        torch.manual_seed(0)
        logs.append(model.train_step(batch(), wrap(model, kind)))
    assert dtypes == [torch.bfloat16] * 2
    for name in ('loss', 'sub.decode.loss_ce', 'sub.aux.loss_ce'):
        torch.testing.assert_close(logs[1][name].float(), logs[0][name], rtol=0.05, atol=0.02)
    assert all(parameter.dtype == torch.float32 for parameter in mixed.parameters())


def test_the_network_is_the_hosts():
    model, data = build(), batch()
    assert isinstance(model, EncoderDecoder) and type(model).__name__ == 'MaskSubSegmentor'
    averaged = ExponentialMovingAverage(model, momentum=0.5).module.eval()
    plain = host().eval()
    model.eval()
    for other in (averaged, plain):
        assert torch.equal(model(data['inputs']), other(data['inputs']))


def test_statistics_of_batch_norms():
    counts = []
    for sub_norm in ('update', 'freeze'):
        model = build(sub_norm=sub_norm)
        model.train_step(batch(), wrap(model))
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        counts.append({int(norm.num_batches_tracked) for norm in norms})
    assert counts == [{2}, {1}]


def test_a_second_stem_sees_nothing_of_what_the_sub_branch_masks():
    quarter = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
    model = build(backbone=dict(type='mmmaskany.MaskAny', backbone=BACKBONE, masking=quarter))
    views, own = [], model.backbone.views
    model.backbone.views = lambda *args: views.append(own(*args)) or views[-1]
    data = batch()
    model.train_step(data, wrap(model))
    (main, _, _), (sub, reused, _) = views
    assert (main == 0).float().mean() == 0.25 and (sub == 0).float().mean() == 0.5
    assert torch.equal(sub, torch.where(sub == 0, 0, data['inputs'])) and torch.equal(reused, half_size(sub))


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(tmp_path):
    import mask_sub_segmentor_training as training

    with second_process(training.__file__, tmp_path):
        for accumulate, weights in training.train_in_two_processes(0, tmp_path):
            assert 'sub_masking.token' in weights
            torch.testing.assert_close(weights, training.train(training.segmentor(), accumulate))


def test_a_resumed_run_is_the_undisturbed_one(tool, tmp_path):
    generator = np.random.default_rng(0)
    for split in ('images', 'labels'):
        (tmp_path / split).mkdir()
    for index in range(6):
        cv2.imwrite(str(tmp_path / f'images/{index}.png'), generator.integers(256, size=(40, 40, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f'labels/{index}.png'), generator.integers(CLASSES, size=(40, 40), dtype=np.uint8))
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs'),
    ]
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        metainfo=dict(classes=tuple('abcde'), palette=[[index] * 3 for index in range(5)]),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        pipeline=steps,
    )
    model = config(data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)))
    model['decode_head']['dropout_ratio'] = 0.5
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=model,
            train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'), dataset=dataset),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=100),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
            default_hooks=dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', by_epoch=False, interval=2)),
            randomness=dict(seed=0),
        )
    )
    cfg.dump(tmp_path / 'tiny.py')
    train = [str(tmp_path / 'tiny.py'), '--no-validate', '--work-dir']
    tool('train')([*train, str(tmp_path / 'whole')])
    tool('train')([*train, str(tmp_path / 'resumed'), '--resume', str(tmp_path / 'whole/iter_2.pth')])
    assert_same_state(*(tmp_path / name / 'iter_4.pth' for name in ('whole', 'resumed')), sections=('state_dict',))


# ---------------------------------------------------------------------- bad input


LOVASZ = dict(type='LovaszLoss', reduction='none')


@pytest.mark.parametrize(
    ('changes', 'error', 'match'),
    [
        (dict(decode_head=[head(), head()]), ValueError, 'takes one decode_head.*a cascade of heads .* not supported'),
        (
            dict(decode_head=head('DAHead', pam_channels=4)),
            ValueError,
            'one map of them.* as FCNHead.* but decode_head is a DAHead',
        ),
        (
            dict(auxiliary_head=[head(num_convs=1), head('EncHead', num_codes=2) | dict(ALL, in_channels=LEVELS)]),
            ValueError,
            'one map of them.* but auxiliary_head is a EncHead',
        ),
        (
            dict(auxiliary_head=head(num_convs=1) | dict(loss_decode=LOVASZ)),
            ValueError,
            'loss_decode of auxiliary_head must be or hold a CrossEntropyLoss, but got LovaszLoss',
        ),
        (dict(sub_masking=None), TypeError, 'sub_masking must be dict.* but got None'),
        (dict(sub_masking=dict(type='mmmaskany.DropTokens')), ValueError, 'but got ResNet_CIFAR: take ReplacePatches'),
        (dict(sub_norm='off'), ValueError, "sub_norm must be one of .*but got 'off'"),
        (dict(sub_mask=FILL), TypeError, 'sub_mask'),
    ],
)
def test_bad_input(changes, error, match):
    with pytest.raises(error, match=match):
        build(**changes)


def test_a_query_decoder_is_refused():
    from shipped import ROOT, load, shrink

    cfg, _ = shrink(load(ROOT / 'configs/segmentation/r50_mask2former_8xb2-160k_ade20k-512x512.py').model.to_dict())
    init_default_scope('mmseg')
    with pytest.raises(ValueError, match='but decode_head is a Mask2FormerHead'):
        MODELS.build(Config(dict(cfg, type='mmmaskany.MaskSubSegmentor', sub_masking=FILL))._cfg_dict)


def test_without_mmseg_it_says_so(monkeypatch):
    from mmmaskany.models.segmentors import mask_sub_segmentor

    mask_sub_segmentor._segmentor_class.cache_clear()
    monkeypatch.setitem(sys.modules, 'mmseg.models.segmentors', None)
    with pytest.raises(ImportError, match='MaskSubSegmentor needs mmsegmentation'):
        MaskSubSegmentor(BACKBONE, head(), sub_masking=FILL)
