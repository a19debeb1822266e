# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MixMask: what is mixed, what is compared with what, and how a step trains."""

import math

import mix_mask_training
import pytest
import torch
from mix_mask_training import CNN, MIX, TRAININGS, build, latent, moco, train, train_in_two_processes
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.models.selfsup import SimCLR
from torch import nn
from torch.nn.functional import cosine_similarity, one_hot
from two_processes import second_process

from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine import CpuAmpOptimWrapper
from mmmaskany.engine.hooks.mask_schedule_hook import find_pattern
from mmmaskany.masking import BlockPattern, GridPattern, MixturePattern, PatchPattern, RandomPattern
from mmmaskany.models.batch_augments import MaskMix, Mixed, NeighbourMix, UnMix
from mmmaskany.models.selfsup import MixMask, MixMaskMoCo, MixMaskSimSiam

MODELS_OF = {'MoCo': moco(), 'SimSiam': latent('SimSiam'), 'BYOL': latent('BYOL')}
frameworks = pytest.mark.parametrize('name', MODELS_OF)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    MessageHub.get_current_instance().update_info('max_iters', 10)  # for BYOL's momentum


def views(count, side=32):
    return [torch.randn(count, 3, side, side) for _ in range(2)]


# ---------------------------------------------------------------------- mixing


@pytest.mark.parametrize(
    'mix',
    [
        MaskMix(BlockPattern(ratio=0.5, cell=2, base=2)),
        MaskMix(RandomPattern(ratio=0.3, cell=1, base=1)),
        MaskMix(MixturePattern([PatchPattern(ratio=0.2, base=1), GridPattern(ratio=0.6, cell=2, base=1)], [0.4, 0.6])),
        UnMix(),
        UnMix(alpha=0.4, cut_prob=0),
        UnMix(alpha=4.0, cut_prob=1),
    ],
    ids=repr,
)
@pytest.mark.parametrize('count', [2, 5])
def test_kept_is_the_drawn_share(mix, count):
    torch.manual_seed(0)
    # Images that hold one channel for each of them.
    images = one_hot(torch.arange(count)).float().view(count, count, 1, 1).expand(-1, -1, 16, 20).contiguous()
    before = images.clone()
    mixed, kept, mask = mix.mix(images)
    assert torch.equal(images, before) and mixed.shape == images.shape
    shares = mixed.mean((2, 3))
    index = torch.arange(count)
    torch.testing.assert_close(shares[index, index], kept)
    torch.testing.assert_close(shares[index, (index - 1) % count], 1 - kept)  # its neighbour, never itself
    torch.testing.assert_close(1 - mask.float().mean((1, 2, 3)), kept)
    assert kept.min() > 0 and kept.max() < 1


def test_the_masks_of_a_batch_differ_and_their_share_is_exact():
    draws = MaskMix(BlockPattern(ratio=0.5, cell=28, base=28)).mix(torch.zeros(16, 3, 224, 224))
    assert draws.kept.tolist() == [0.5] * 16  # 32 of 64 cells
    assert len(torch.unique(draws.mask.flatten(1), dim=0)) == 16
    mixture = MixturePattern([RandomPattern(ratio=r, cell=8, base=8) for r in (0.25, 0.5)], [0.5, 0.25])
    kept = MaskMix(mixture).mix(torch.zeros(200, 1, 32, 32)).kept
    assert kept.unique().tolist() == [0.5, 0.75, 1.0]


def test_unmix_blends_or_puts_a_rectangle():
    torch.manual_seed(0)
    images = torch.rand(400, 1, 12, 20)
    mixed, kept, mask = UnMix(cut_prob=0.25).mix(images)
    partner = images.roll(1, 0)
    torch.testing.assert_close(mixed, images + mask * (partner - images))
    blended = mask.flatten(1).std(1) == 0
    cut = mask.flatten(1).unique().numel() > 0 and ((mask == 0) | (mask == 1)).flatten(1).all(1)
    assert (blended | cut).all() and abs(cut.float().mean() - 0.25) < 0.08
    assert abs(kept[~cut].mean() - 0.5) < 0.05
    for area in mask[cut & ~blended, 0].bool():  # one rectangle, anywhere
        rows, cols = area.any(1), area.any(0)
        assert torch.equal(area, rows[:, None] & cols)
    assert all(mask[cut].bool().any(0).flatten())
    low, high = UnMix(alpha=0.1, cut_prob=0), UnMix(alpha=10.0, cut_prob=0)
    assert low.mix(images).kept.std() > 0.35 > 0.15 > high.mix(images).kept.std()


@pytest.mark.parametrize('per_batch', [False, True])
def test_rectangles_of_unmix_are_those_of_cutmix(per_batch):
    """A centre anywhere, half of the side to both sides of it, cut off at the border; lambda is what is left."""
    count, height, width = 6, 12, 20
    images = torch.randn(count, 3, height, width)
    torch.manual_seed(3)
    _, kept, mask = UnMix(cut_prob=1, per_batch=per_batch).mix(images)
    torch.manual_seed(3)
    draws = 1 if per_batch else count
    shares = torch.distributions.Beta(torch.ones(draws), torch.ones(draws)).sample().tolist()
    _, ys, xs = torch.rand(3, draws).tolist()
    for index in range(count):
        share, y, x = (values[0 if per_batch else index] for values in (shares, ys, xs))
        tall, wide = int(height * share**0.5) // 2, int(width * share**0.5) // 2
        y, x = int(y * height), int(x * width)
        expected = torch.zeros(height, width)
        expected[max(y - tall, 0) : y + tall, max(x - wide, 0) : x + wide] = 1
        assert torch.equal(mask[index, 0], expected)
        assert float(kept[index]) == pytest.approx(1 - float(expected.mean()))
    assert (len(kept.unique()) == 1) == per_batch
    # What the border leaves of a half, on average.
    assert abs((1 - UnMix(cut_prob=1).mix(torch.zeros(4000, 1, 64, 64)).kept).mean() - 0.32) < 0.02


def test_one_draw_for_a_batch_is_of_one_kind():
    kinds = set()
    for seed in range(12):
        torch.manual_seed(seed)
        _, kept, mask = UnMix(per_batch=True).mix(torch.randn(5, 3, 8, 8))
        assert len(kept.unique()) == 1 and torch.equal(mask, mask[:1].expand_as(mask))
        kinds.add(bool(((mask == 0) | (mask == 1)).all()))
    assert kinds == {True, False}


@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_unmix_keeps_dtype_and_memory_format(dtype):
    images = torch.randn(4, 3, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    mixed, kept, _ = UnMix().mix(images)
    assert mixed.dtype == dtype and mixed.is_contiguous(memory_format=torch.channels_last) and kept.dtype == torch.float
    # With labels, it is one of mmpretrain's batch augmentations.
    assert UnMix()(images, torch.eye(4))[1].sum(1).tolist() == pytest.approx([1] * 4)


# ---------------------------------------------------------------------- the loss by hand


class Means(nn.Module):
    """A backbone of no parameters: the mean of each channel."""

    def forward(self, images):
        return (images.mean((2, 3)),)


class Neck(nn.Linear):
    def forward(self, feats):
        return (super().forward(feats[0]),)


class Fixed(NeighbourMix):
    """Mixes the left part of each image with a share of its own."""

    def __init__(self, *columns):
        self.columns = torch.tensor(columns)

    def mix(self, images):
        mask = (torch.arange(images.shape[-1]) < self.columns[:, None])[:, None, None].expand(
            -1, 1, images.shape[2], -1
        )
        return Mixed(self.partner(images, mask), 1 - self.columns / images.shape[-1], mask)


def mixed_by_hand(images, columns):
    out = images.clone()
    for index, count in enumerate(columns):
        out[index, :, :, :count] = images[index - 1, :, :, :count]  # of the first one the last
    return out


def test_moco_by_hand():
    torch.manual_seed(0)
    columns, tau = (1, 2, 3), 0.5
    head = dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=tau)
    parts = dict(backbone=Means(), neck=Neck(3, 2), head=head, queue_len=6, feat_dim=2)
    model = MixMaskMoCo(**parts, mixing=Fixed(*columns)).train()
    with torch.no_grad():
        model.encoder_k.module[1].weight.add_(0.3)  # the momentum encoder is another network
    first, second = (torch.randn(3, 3, 4, 8) for _ in range(2))
    queue = model.queue.clone()
    losses = model.loss([first, second], None)

    def unit(vectors):
        return [[value / math.hypot(*row) for value in row] for row in vectors.tolist()]

    def contrast(q, k):
        dots = [q[0] * x + q[1] * y for x, y in [k, *queue.T.tolist()]]
        return -math.log(math.exp(dots[0] / tau) / sum(math.exp(dot / tau) for dot in dots))

    q = unit(model.neck(model.backbone(first))[0])
    k = unit(model.encoder_k(second)[0])
    q_mix = unit(model.neck(model.backbone(mixed_by_hand(first, columns)))[0])
    kept = [1 - count / 8 for count in columns]
    whole = sum(contrast(q[i], k[i]) for i in range(3)) / 3
    own = sum(kept[i] * contrast(q_mix[i], k[i]) for i in range(3)) / 3
    partner = sum((1 - kept[i]) * contrast(q_mix[i], k[i - 1]) for i in range(3)) / 3
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        dict(loss_whole=whole, loss_own=own, loss_partner=partner), rel=1e-5
    )
    total, logs = model.parse_losses(losses)
    assert total.item() == pytest.approx(whole + own + partner, rel=1e-5) and list(logs)[0] == 'loss'


@pytest.mark.parametrize(('name', 'factor'), [('SimSiam', 0.5), ('BYOL', 2.0)])
def test_both_directions_by_hand(name, factor):
    torch.manual_seed(0)
    columns = (1, 2, 3)
    model = build(dict(latent(name, Fixed(*columns)), backbone=Means(), neck=Neck(3, 8)))
    model.head.predictor = Neck(8, 8)
    if name == 'BYOL':
        with torch.no_grad():
            model.target_net.module[1].weight.add_(0.3)
    images = [torch.randn(3, 3, 4, 8) for _ in range(2)]
    losses = model.loss(images, None)
    target = model.target_net if name == 'BYOL' else lambda view: model.neck(model.backbone(view))
    whole = own = partner = 0
    for here, there in ((0, 1), (1, 0)):
        k = target(images[there])[0]
        q, q_mix = (
            model.head.predictor(model.neck(model.backbone(view)))[0]
            for view in (images[here], mixed_by_hand(images[here], columns))
        )
        for i in range(3):
            kept = 1 - columns[i] / 8
            whole -= factor * cosine_similarity(q[i], k[i], 0) / 3
            own -= factor * kept * cosine_similarity(q_mix[i], k[i], 0) / 3
            partner -= factor * (1 - kept) * cosine_similarity(q_mix[i], k[i - 1], 0) / 3
    torch.testing.assert_close(losses, dict(loss_whole=whole, loss_own=own, loss_partner=partner))


def test_ways_of_mixing_add_up():
    images, found = views(3), []
    for mixing in (Fixed(1, 2, 3), Fixed(9, 8, 7), [Fixed(1, 2, 3), Fixed(9, 8, 7)]):
        losses = build(latent('SimSiam', mixing)).loss(images, None)
        found.append(losses)
    one, other, both = found
    assert both['loss_whole'] == one['loss_whole'] == other['loss_whole']
    for name in ('loss_own', 'loss_partner'):
        torch.testing.assert_close(both[name], one[name] + other[name])


@frameworks
def test_the_first_term_is_the_hosts(name):
    model = build(MODELS_OF[name])
    cfg = dict(MODELS_OF[name], type=name)
    del cfg['mixing']
    host = build(cfg)
    host.load_state_dict(model.state_dict())  # no parameter is added, and none has another name
    images, losses = views(4), []
    for network in (host, model):
        torch.manual_seed(3)
        losses.append(network.loss([view.clone() for view in images], None))
    assert losses[0]['loss'] == losses[1]['loss_whole']
    # What is not learned is as after the host's step: momentum encoder, queue and its place.
    for key, tensor in host.state_dict().items():
        if not key.startswith(('backbone.', 'neck.', 'head.')):
            assert torch.equal(tensor, model.state_dict()[key]), key


@frameworks
def test_gradients_reach_the_query_encoder_alone(name):
    model = build(dict(MODELS_OF[name], mixing=[MIX, dict(type='mmmaskany.UnMix')]))
    parts = ('loss_own', 'loss_partner')
    for part in parts:
        model.zero_grad()
        model.loss(views(4), None)[part].backward()
        for key, parameter in model.named_parameters():
            learns = not key.startswith(('encoder_k.', 'target_net.'))
            assert (parameter.grad is not None and bool(parameter.grad.any())) == learns or (
                learns and key.endswith('fc0.bias')  # hidden by the batch norm that follows
            ), key
    assert not any(buffer.requires_grad for buffer in model.buffers())
    assert model._targets == []


# ---------------------------------------------------------------------- training


@frameworks
def test_mixed_precision(name):
    images, found = views(8), []
    for kind in (OptimWrapper, CpuAmpOptimWrapper):
        model = build(MODELS_OF[name])
        torch.manual_seed(0)
        optim_wrapper = kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        found.append(model.train_step(dict(inputs=images, data_samples=None), optim_wrapper))
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    for key in ('loss_whole', 'loss_own', 'loss_partner'):
        torch.testing.assert_close(found[1][key].float(), found[0][key], rtol=0.1, atol=0.1 * model.loss_weight)


def test_two_processes_train_as_one(tmp_path):
    with second_process(mix_mask_training.__file__, tmp_path):
        states = list(train_in_two_processes(0, tmp_path))
    for cfg, state in zip(TRAININGS, states, strict=True):  # alone once the group is gone, which MoCo would ask
        torch.testing.assert_close(state, train(cfg), rtol=1e-4, atol=1e-5)
    before = build(dict(cfg, mixing=MIX)).state_dict()['backbone.conv1.weight']
    assert (state['backbone.conv1.weight'] - before).abs().max() > 1e-3


def test_a_resumed_run_is_the_undisturbed_one(tiny_config, tool, tmp_path):
    crop = dict(type='RandomResizedCrop', scale=16, crop_ratio_range=(0.4, 1.0))
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', num_views=2, transforms=[[crop, dict(type='RandomFlip', prob=0.5)]]),
        dict(type='PackInputs'),
    ]
    model = dict(moco(), queue_len=16, mixing=[dict(MIX), dict(type='mmmaskany.UnMix')])
    config = tiny_config(
        model=dict(model, _delete_=True, data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3)),
        train_dataloader=dict(dataset=dict(pipeline=pipeline), drop_last=True),
        **{f'{split}_{what}': None for split in ('val', 'test') for what in ('dataloader', 'evaluator', 'cfg')},
    )
    tool('train')([config, '--work-dir', str(tmp_path / 'whole')])
    tool('train')([config, '--work-dir', str(tmp_path / 'resumed'), '--resume', str(tmp_path / 'whole/epoch_1.pth')])
    whole, resumed = (read_checkpoint(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'resumed'))
    for section in ('state_dict', 'ema_state_dict'):
        assert whole[section].keys() == resumed[section].keys()
        for name, tensor in whole[section].items():
            assert torch.equal(tensor, resumed[section][name]), name
    assert whole['state_dict']['queue_ptr'] == 5 * 2 * 8 % 16
    (log,) = (tmp_path / 'whole').glob('*/vis_data/scalars.json')
    assert all(f'"{name}"' in log.read_text() for name in ('loss', 'loss_whole', 'loss_own', 'loss_partner'))


def test_a_schedule_finds_the_pattern():
    model = build(moco())
    assert find_pattern(model, 'mixing.0') is model.mixing[0].pattern


# ---------------------------------------------------------------------- bad input


def test_frameworks_are_listed():
    cfg = dict(latent('SimSiam'), type='mmmaskany.MixMask')
    assert type(build(dict(cfg, framework='SimSiam'))) is MixMaskSimSiam
    assert type(build(dict(cfg, framework='mmpretrain.SimSiam'))) is MixMaskSimSiam
    with pytest.raises(ValueError, match=r"framework must be one of \['MoCo', 'SimSiam', 'BYOL'\], but got 'SimCLR'"):
        build(dict(cfg, framework='SimCLR'))

    class MixMaskSimCLR(MixMask, SimCLR):
        pass

    with pytest.raises(TypeError, match=r"a framework must be one of \['MoCo', .*, but got MixMaskSimCLR"):
        MixMaskSimCLR(Means(), mixing=UnMix())


HEADS = {name: cfg['head'] for name, cfg in MODELS_OF.items()}


@pytest.mark.parametrize(
    ('name', 'changes', 'error', 'match'),
    [
        ('MoCo', dict(mixing=[]), ValueError, "mixing must be one of 'mmmaskany.MaskMix'.*but got none"),
        ('MoCo', dict(mixing=dict(type='Mixup', alpha=1.0)), TypeError, 'mixing must be dict.*but got Mixup'),
        ('MoCo', dict(mixing=0.5), TypeError, 'mixing must be dict.*but got float'),
        ('MoCo', dict(head=HEADS['BYOL']), TypeError, 'must be a ContrastiveHead.*got LatentPredictHead'),
        (
            'MoCo',
            dict(head=dict(HEADS['MoCo'], loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1))),
            TypeError,
            'ContrastiveHead with CrossEntropyLoss, but got ContrastiveHead with LabelSmoothLoss',
        ),
        ('SimSiam', dict(head=HEADS['MoCo']), TypeError, 'must be a LatentPredictHead, but got ContrastiveHead'),
        ('BYOL', dict(mixing=dict(MIX, pattern=dict(MIX['pattern'], ratio=0.0))), ValueError, r'ratio must be in \(0'),
        ('BYOL', dict(mixing=dict(MIX, pattern=dict(MIX['pattern'], ratio=1))), ValueError, r'ratio must be in \(0'),
        ('BYOL', dict(mixing=dict(type='mmmaskany.UnMix', alpha=0)), ValueError, 'alpha must be positive, but got 0'),
        ('BYOL', dict(mixing=dict(type='mmmaskany.UnMix', cut_prob=2)), ValueError, r'cut_prob must be in \[0, 1\]'),
    ],
)
def test_refused_when_built(name, changes, error, match):
    with pytest.raises(error, match=match):
        build(dict(MODELS_OF[name], **changes))


@pytest.mark.parametrize(
    ('inputs', 'error', 'match'),
    [
        (views(1), ValueError, 'at least 2 images for each process, but got a batch of 1.*drop_last=True'),
        (views(2, 36), ValueError, 'multiples of the cells of 8 px of MaskMix.*but got 36 x 36 px'),
        (torch.zeros(2, 3, 32, 32), TypeError, 'list of two views of each image, but got Tensor'),
        (views(2) * 2, TypeError, 'list of two views of each image, but got 4 views'),
    ],
)
def test_refused_at_the_first_step(inputs, error, match):
    with pytest.raises(error, match=match):
        build(moco()).loss(inputs, None)


@pytest.mark.parametrize('ratio', [0.01, 0.99])
def test_masks_of_nothing_and_of_everything(ratio):
    model = build(moco(mixing=dict(MIX, pattern=dict(MIX['pattern'], ratio=ratio))))
    with pytest.raises(ValueError, match='must mask at least one cell and leave one'):
        model.loss(views(2), None)


def test_configs_are_not_changed():
    cfg = moco(backbone=dict(CNN), data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3))
    build(cfg)
    assert cfg['data_preprocessor'] == dict(mean=[0.0] * 3, std=[1.0] * 3)
    assert MODELS.get('mmmaskany.MixMaskMoCo') is MixMaskMoCo
