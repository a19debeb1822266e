# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
import pickle
import uuid
import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmmaskany.masking import Draw, Masking, PatchPattern, Views, half_size
from mmmaskany.models.backbones import MaskAny

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
R18 = dict(type='mmpretrain.ResNet', depth=18)
FAMILY = [
    R18,
    dict(type='mmpretrain.ResNet', depth=50),
    dict(type='mmpretrain.ResNetV1c', depth=50),
    dict(type='mmpretrain.ResNetV1d', depth=50),
    dict(type='mmpretrain.ResNeXt', depth=50),
    dict(type='mmpretrain.ResNet_CIFAR', depth=18),
]


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def plain_host(cfg):
    """A plain host with weights as after some training: nothing is at its initial value."""
    model = MODELS.build(cfg)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    model.eval()
    return model


def classifier(backbone, num_classes=5):
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=backbone,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='mmpretrain.LinearClsHead',
            num_classes=num_classes,
            in_channels=512 if backbone.get('backbone', backbone)['depth'] == 18 else 2048,
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
        ),
    )


class Images(Dataset):
    """Eight small images with labels, in the form that a classifier takes."""

    metainfo = dict(classes=tuple('abcde'))

    def __len__(self):
        return 8

    def __getitem__(self, index):
        from mmpretrain.structures import DataSample

        generator = torch.Generator().manual_seed(index)
        image = torch.rand(3, 32, 32, generator=generator)
        return dict(inputs=image, data_samples=DataSample().set_gt_label(index % 5))


def make_runner(model, work_dir, **kwargs):
    return Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Images(),
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        log_level='ERROR',
        default_scope='mmpretrain',
        experiment_name=work_dir.name,
        **kwargs,
    )


# ---------------------------------------------------------------------- the walk of a pixel


def test_fused_features_are_those_of_both_stems_by_hand():
    model = MaskAny(R18)
    model.eval()
    image = torch.randn(2, 3, 64, 64)
    stem = model.dual_stem
    visible = model.relu(model.bn1(model.conv1(image)))
    visible = nn.functional.max_pool2d(visible, 3, 2, 1)
    reused = stem.reused.relu(stem.reused.bn1(stem.reused.conv1(half_size(image))))
    x = visible + reused
    for name in model.res_layers:
        x = getattr(model, name)(x)
    torch.testing.assert_close(model(image)[0], x)


def test_masking_masks_in_training_only():
    model = MaskAny(R18, masking=GRID)
    image = torch.randn(2, 3, 64, 64)
    model.eval()
    visible, reused, draw = model.views(image)
    assert visible is image and torch.equal(reused, half_size(image)) and draw is None
    assert torch.equal(model(image)[0], model(image)[0])
    model.train()
    visible, reused, draw = model.views(image)
    assert draw.ratio.tolist() == [0.25, 0.25]
    assert visible.eq(0).float().mean().item() == 0.25
    assert not torch.equal(reused, half_size(image))
    # What left the visible image is what the reused one shows.
    assert torch.equal(reused.flatten(2).sort(2).values, image[visible == 0].view(2, 3, -1).sort(2).values)


def test_masking_follows_the_backbone_not_a_frozen_stem():
    with pytest.warns(UserWarning, match='frozen_stages=-1'):
        model = MaskAny(dict(**R18, frozen_stages=0), masking=GRID)
    model.train()
    assert not model.dual_stem.reused.training
    assert (model.views(torch.randn(2, 3, 64, 64))[0] == 0).any()


def test_masking_none_is_deterministic_in_training():
    model = MaskAny(R18)
    model.train()
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(image)[0], model(image)[0])


def test_masks_follow_the_seed():
    model = MaskAny(R18, masking=GRID)
    model.train()
    image = torch.randn(8, 3, 64, 64)
    torch.manual_seed(3)
    first = model.views(image)[1]
    torch.manual_seed(3)
    assert torch.equal(first, model.views(image)[1])
    assert not torch.equal(first, model.views(image)[1])


def test_ready_pair_equals_the_views_that_the_model_makes():
    model = MaskAny(R18, masking=GRID)
    model.train()
    image = torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    pair = model.views(image)
    torch.manual_seed(1)
    assert torch.equal(model(image)[0], model(pair)[0])
    assert all(view is given for view, given in zip(model.views(pair), pair, strict=True))


@pytest.mark.parametrize('kind', [list, tuple, lambda pair: dict(visible=pair[0], reused=pair[1])])
def test_two_batches_are_no_pair_by_their_number(kind):
    with pytest.raises(TypeError, match=r'mmmaskany.masking.Views\(visible, reused\), but got a (list|tuple|dict)'):
        MaskAny(R18)(kind([torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 32, 32)]))


@pytest.mark.parametrize('training', [True, False])
def test_a_draw_can_be_replayed(training):
    model = MaskAny(R18, masking=GRID)
    model.train()
    image = torch.randn(2, 3, 64, 64)
    pair = model.views(image)
    model.train(training)
    again = model.views(image, pair.draw)
    assert again.draw is pair.draw
    assert torch.equal(again.visible, pair.visible) and torch.equal(again.reused, pair.reused)
    assert torch.equal(model(image, draw=pair.draw)[0], model(pair)[0])


def test_a_draw_that_cannot_be_replayed():
    model = MaskAny(R18, masking=GRID)
    image = torch.randn(2, 3, 64, 64)
    draw = model.views(image).draw
    with pytest.raises(ValueError, match='made for 2 images of 16 x 16 cells of 4 px, but got images of shape'):
        model(torch.randn(2, 3, 64, 48), draw=draw)
    with pytest.raises(ValueError, match='made for 2 images of 16 x 16 cells of 4 px, but got images of shape'):
        model(torch.randn(3, 3, 64, 64), draw=draw)
    with pytest.raises(ValueError, match='but got Views, masked already'):
        model(model.views(image), draw=draw)
    with pytest.raises(ValueError, match='MaskAnyResNet has masking=None'):
        MaskAny(R18)(image, draw=draw)
    with pytest.raises(TypeError, match='draw must be a mmmaskany.masking.Draw, but got Tensor'):
        model(image, draw=draw.mask)
    without_source = Draw(draw.mask, draw.masked, draw.base)
    with pytest.raises(ValueError, match='no source map'):
        model(image, draw=without_source)


@pytest.mark.parametrize(
    'cfg', [dict(type='mmmaskany.MaskAny', backbone=R18), dict(type='mmmaskany.MaskResNet', depth=18)]
)
def test_an_exception_leaves_nothing_of_the_image_in_the_stem(cfg):
    model = MODELS.build(cfg)
    with pytest.raises(RuntimeError):
        model(Views(torch.randn(2, 5, 64, 64), torch.randn(2, 5, 32, 32)))  # of five channels
    assert model.dual_stem.reused_image is None
    with pytest.raises(RuntimeError, match='without a reused image'):
        model.dual_stem(torch.randn(2, 64, 32, 32))
    model(torch.randn(2, 3, 64, 64))
    assert model.dual_stem.reused_image is None


@pytest.mark.parametrize('size', [(64, 64), (48, 80), (33, 47), (1, 96, 61)])
def test_any_size_and_batch_of_one(size):
    batch, height, width = size if len(size) == 3 else (2, *size)
    image = torch.randn(batch, 3, height, width)
    for host in (R18, dict(type='mmpretrain.ResNet_CIFAR', depth=18), dict(type='mmpretrain.ResNetV1d', depth=50)):
        host = dict(**host, out_indices=(0, 1, 2, 3))
        plain, model = MODELS.build(host), MaskAny(host, masking=GRID)
        model.train()
        model.zero_grad()
        if batch > 1:
            sum(level.sum() for level in model(image)).backward()
            convs = [part for part in model.dual_stem.reused.modules() if isinstance(part, nn.Conv2d)]
            assert convs and all(conv.weight.grad.any() for conv in convs)
        plain.eval(), model.eval()
        assert [level.shape for level in model(image)] == [level.shape for level in plain(image)]


@pytest.mark.parametrize(
    'pair',
    [
        [torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64)],
        [torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 32, 30)],
        [torch.zeros(2, 3, 64, 64), torch.zeros(1, 3, 32, 32)],
    ],
)
def test_pair_that_does_not_match(pair):
    with pytest.raises(ValueError, match=r'half size, but got'):
        MaskAny(R18)(Views(*pair))


def test_fuse_at_neck_returns_the_levels_of_both_images():
    plain = plain_host(dict(**R18, out_indices=(2, 3)))
    model = MaskAny(dict(**R18, out_indices=(2, 3)), fuse_at='neck')
    model.load_state_dict(plain.state_dict())
    model.eval()
    image = torch.randn(2, 3, 64, 64)
    levels = model(image)
    for got, of in ((levels.visible, image), (levels.reused, half_size(image))):
        for level, other in zip(got, plain(of), strict=True):
            assert torch.equal(level, other)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_channels_last_stays_channels_last():
    model = MaskAny(R18, masking=GRID).to(memory_format=torch.channels_last)
    seen = []
    for name in ('reused', 'fusion'):
        getattr(model.dual_stem, name).register_forward_hook(lambda _, args, out: seen.extend([*args, out]))
    for mode in (True, False):
        model.train(mode)
        model(torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last))
    assert len(seen) == 10
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)


@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated'])
def test_autocast(fusion):
    model = MaskAny(R18, fusion=fusion, masking=GRID)
    model.train()
    with torch.autocast('cpu', torch.bfloat16):
        (out,) = model(torch.randn(2, 3, 64, 64))
    out.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    'cfg', [dict(type='mmmaskany.MaskAny', backbone=R18), dict(type='mmmaskany.MaskResNet', depth=18)]
)
def test_compiles_without_a_graph_break_and_exports(cfg):
    model = MODELS.build(dict(**cfg, masking=GRID))
    image = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    model.train()
    compiled(image)[0].sum().backward()
    assert model.dual_stem.reused_image is None
    model.eval()
    torch.testing.assert_close(compiled(image)[0], model(image)[0])
    exported = torch.export.export(model, (image,)).module()
    torch.testing.assert_close(exported(image)[0], model(image)[0])


# ---------------------------------------------------------------------- adoption and checkpoints


@pytest.mark.parametrize('host', FAMILY, ids=lambda host: f'{host["type"]}-{host["depth"]}')
@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated'])
def test_plain_checkpoint_keeps_its_outputs(host, fusion):
    host = dict(**host, out_indices=(0, 3))
    plain, model = plain_host(host), MaskAny(host, fusion=fusion)
    result = model.load_state_dict(plain.state_dict(), strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    model.eval()
    for size in ((64, 64), (47, 33)):
        image = torch.randn(2, 3, *size)
        for level, other in zip(model(image), plain(image), strict=True):
            assert torch.equal(level, other)
    # The reused stem starts from the weights of the host's stem, and training moves it.
    state = model.state_dict()
    stem = model.stem_parts[-1]
    for key, value in model.dual_stem.reused.state_dict().items():
        assert torch.equal(value, state[f'{key}' if key.partition('.')[0] != stem else f'{stem}.visible.{key}']), key
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.dual_stem.reused.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 64, 64))[1].square().sum().backward()
        optimizer.step()
    assert any(not torch.equal(before[key], value) for key, value in model.dual_stem.reused.state_dict().items())


def test_no_host_parameter_changes_its_name():
    plain, model = MODELS.build(R18), MaskAny(R18)
    assert set(plain.state_dict()) < set(model.state_dict())
    added = set(model.state_dict()) - set(plain.state_dict())
    assert all(name.startswith(('maxpool.reused.', 'maxpool.fusion.', 'maxpool._extra_state')) for name in added)
    assert type(model).__name__ == 'MaskAnyResNet' and isinstance(model, type(plain))


def test_plain_checkpoint_of_a_host_with_a_named_stem():
    host = dict(type='mmpretrain.MobileNetV2')
    plain, model = plain_host(host), MaskAny(host, stem='conv1')
    model.load_state_dict(plain.state_dict())
    model.eval()
    image = torch.randn(2, 3, 64, 48)
    assert torch.equal(model(image)[0], plain(image)[0])
    other = MaskAny(host, stem='conv1')
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.conv1.visible.conv.weight, plain.conv1.conv.weight)


@pytest.mark.parametrize('how', ['load_from', 'init_cfg'])
def test_adoption_through_a_runner_with_init_weights(tmp_path, how):
    plain = MODELS.build(classifier(R18))
    plain.backbone.load_state_dict(plain_host(R18).state_dict())
    plain.eval()
    path = str(tmp_path / 'plain.pth')
    torch.save(dict(state_dict=plain.state_dict()), path)
    backbone = dict(type='mmmaskany.MaskAny', backbone=R18)
    load_from = path
    if how == 'init_cfg':
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
        load_from = None
    runner = make_runner(classifier(backbone), tmp_path / how, load_from=load_from)
    image = torch.randn(2, 3, 64, 64)
    logits = []

    class Look(Hook):
        def before_train(self, runner):
            if how == 'init_cfg':  # the head is not part of the backbone's checkpoint
                runner.model.head.load_state_dict(plain.head.state_dict())
            logits.append(runner.model.eval()(image, mode='tensor'))

    runner.register_hook(Look())
    runner.train()
    assert torch.equal(logits[0], plain(image, mode='tensor'))
    assert runner.model.backbone.dual_stem.fusion.scale.abs().sum() > 0  # training has moved it


def test_own_checkpoint_loads_completely():
    model, other = MaskAny(R18), MaskAny(R18)
    other.load_state_dict(model.state_dict())
    model.eval(), other.eval()
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(image)[0], other(image)[0])
    assert not other.dual_stem.fusion.is_silent()


@pytest.mark.parametrize(
    ('checkpoint', 'message'),
    [
        # A deeper network holds every tensor of the shallower one.
        (
            lambda: MODELS.build(dict(type='mmpretrain.ResNet', depth=34)).state_dict(),
            r'must fill all 100 tensors and hold no other, but 0 are missing .* and 96 have no place '
            r'\(layer1\.2\.conv1\.weight, .*another architecture or depth',
        ),
        (
            lambda: MaskAny(dict(type='mmpretrain.ResNet', depth=34)).state_dict(),
            r'must fill all 106 tensors .* 96 have no place .*second stem too, but differs in kind',
        ),
        (lambda: MODELS.build(dict(type='mmpretrain.ResNet', depth=50)).state_dict(), 'another architecture or depth'),
        (
            lambda: MODELS.build(dict(type='mmmaskany.MaskResNet', depth=18)).state_dict(),
            r'are missing \(conv1\.weight, .*second stem too, but differs in kind',
        ),
        (
            lambda: {f'backbone.{key}': value for key, value in MaskAny(R18).state_dict().items()},
            r"100 are missing .*whole model's: give init_cfg prefix='backbone\.'",
        ),
        (lambda: {}, r'must fill all 100 tensors .* 100 are missing \(conv1.weight, bn1.weight'),
        (lambda: {'epoch': torch.zeros(1)}, '100 are missing'),
        (
            lambda: {k: v for k, v in MaskAny(R18).state_dict().items() if k != 'maxpool.reused.conv1.weight'},
            r'1 are missing \(maxpool.reused.conv1.weight\)',
        ),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(checkpoint, message):
    model = MaskAny(R18)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(checkpoint(), strict=False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_belongs_to_no_module_of_the_backbone_is_passed_over():
    state = dict(plain_host(R18).state_dict(), **{'fc.weight': torch.zeros(1000, 512), 'fc.bias': torch.zeros(1000)})
    model = MaskAny(R18)
    model.load_state_dict(state, strict=False)
    assert torch.equal(model.conv1.weight, state['conv1.weight'])
    three_stages = MaskAny(dict(**R18, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)))
    three_stages.load_state_dict(state, strict=False)
    assert torch.equal(three_stages.layer3[1].conv2.weight, state['layer3.1.conv2.weight'])


def test_a_learned_fill_may_come_and_go():
    masking = dict(GRID, fill=dict(type='mmmaskany.TokenFill', channels=3))
    trained, plain = MaskAny(R18, masking=masking), MaskAny(R18)
    assert any(key.startswith('masking.') for key in trained.state_dict())
    plain.load_state_dict(trained.state_dict(), strict=False)
    trained.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(trained.conv1.weight, plain.conv1.weight)


def test_late_fusion_takes_a_plain_checkpoint_and_no_second_stem():
    late = MaskAny(R18, fuse_at='neck')
    late.load_state_dict(plain_host(R18).state_dict())
    with pytest.raises(ValueError, match=r'7 have no place \(maxpool\.reused\.conv1\.weight'):
        late.load_state_dict(MaskAny(R18).state_dict(), strict=False)


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        (lambda: MaskAny(R18), 'MaskAnyResNet: the checkpoint fills all 106 tensors of the backbone.'),
        (lambda: MODELS.build(R18), 'adopted a plain checkpoint, which fills all 100 tensors of the host'),
    ],
)
def test_loading_reports_what_was_filled(source, text, tmp_path, capfd):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict={f'backbone.{key}': value for key, value in source().state_dict().items()}), path)
    MMLogger.get_instance(uuid.uuid4().hex, log_level='INFO')
    MaskAny(R18, init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.')).init_weights()
    assert text in ''.join(capfd.readouterr())


def test_a_gap_names_the_file_to_start_from(tmp_path):
    path = str(tmp_path / 'r34.pth')
    torch.save(MODELS.build(dict(type='mmpretrain.ResNet', depth=34)).state_dict(), path)
    model = MaskAny(R18, init_cfg=dict(type='Pretrained', checkpoint=path))
    with pytest.raises(ValueError, match=r'r34\.pth: the checkpoint does not fit the backbone MaskAnyResNet'):
        model.init_weights()


def test_loading_leaves_the_given_dict_alone():
    state = plain_host(R18).state_dict()
    keys = list(state)
    MaskAny(R18).load_state_dict(state)
    assert list(state) == keys


def test_from_scratch_the_reused_stem_starts_like_the_hosts():
    model = MaskAny(dict(type='mmpretrain.ResNet', depth=50))
    model.init_weights()
    host, reused = model.conv1.weight, model.dual_stem.reused.conv1.weight
    assert not torch.equal(host, reused)
    torch.testing.assert_close(host.std(), reused.std(), rtol=0.05, atol=0)
    assert model.dual_stem.fusion.scale.eq(1).all()


# ---------------------------------------------------------------------- what the hosts do with it


@pytest.mark.parametrize('host', [R18, dict(type='mmpretrain.ResNetV1d', depth=50)])
@pytest.mark.parametrize('frozen_stages', [0, 1])
def test_frozen_stages_freeze_the_reused_stem_and_its_statistics(host, frozen_stages):
    model = MaskAny(dict(**host, frozen_stages=frozen_stages))
    model.train()
    before = copy.deepcopy(model.dual_stem.state_dict())
    model(torch.randn(4, 3, 32, 32))[0].sum().backward()
    assert all(not p.requires_grad and p.grad is None for p in model.dual_stem.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.dual_stem.state_dict().items())
    assert model.layer4[0].conv1.weight.grad.any()


def test_unfrozen_reused_stem_updates_its_statistics():
    model = MaskAny(R18)
    model.train()
    before = model.dual_stem.reused.bn1.running_mean.clone()
    model(torch.randn(4, 3, 32, 32))
    assert not torch.equal(before, model.dual_stem.reused.bn1.running_mean)
    model.eval()
    before = model.dual_stem.reused.bn1.running_mean.clone()
    model(torch.randn(4, 3, 32, 32))
    assert torch.equal(before, model.dual_stem.reused.bn1.running_mean)


def test_norm_eval_covers_the_reused_stem():
    model = MaskAny(dict(**R18, norm_eval=True))
    model.train()
    assert model.training and not model.dual_stem.reused.bn1.training


def test_norms_that_the_host_does_not_train_are_not_trained_in_the_reused_stem():
    stem = MaskAny(dict(**R18, norm_cfg=dict(type='BN', requires_grad=False))).dual_stem
    learned = {name for name, parameter in stem.named_parameters() if parameter.requires_grad}
    assert learned == {'reused.conv1.weight', 'fusion.scale'}


def test_silent_reused_stem_on_a_frozen_stem_is_a_warning():
    host = dict(**R18, frozen_stages=0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = MaskAny(host)
    with pytest.warns(UserWarning, match='never will.*frozen_stages=-1'):
        model.load_state_dict(plain_host(R18).state_dict())


def test_layer_decay_gives_the_reused_stem_the_rate_of_the_stem():
    model = MODELS.build(classifier(dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet', depth=50))))
    wrapper = build_optim_wrapper(
        model,
        ConfigDict(
            constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.01),
            paramwise_cfg=dict(layer_decay_rate=0.5),
        ),
    )
    rates = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    names = dict(model.named_parameters())
    stem = rates[id(names['backbone.conv1.weight'])]
    for name in ('reused.conv1.weight', 'reused.bn1.bias', 'fusion.scale'):
        assert rates[id(names[f'backbone.maxpool.{name}'])] == stem
    assert stem < rates[id(names['backbone.layer4.0.conv1.weight'])] < rates[id(names['head.fc.weight'])] == 1.0


def test_copies_and_pickles_are_independent():
    model = MaskAny(R18, masking=GRID)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        with torch.no_grad():
            other.dual_stem.reused.conv1.weight.zero_()
        assert model.dual_stem.reused.conv1.weight.any()
        other.train()
        other(torch.randn(2, 3, 32, 32))


def test_moving_average_covers_the_reused_stem():
    model = MaskAny(R18)
    average = ExponentialMovingAverage(model, momentum=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    average.update_parameters(model)  # the first update copies
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(4.0)
    average.update_parameters(model)
    assert average.module.dual_stem.fusion.scale.unique().tolist() == [3.0]
    assert average.module.dual_stem.reused.conv1.weight.unique().tolist() == [3.0]


def test_masking_after_batch_augmentation():
    cfg = classifier(dict(type='mmmaskany.MaskAny', backbone=R18, masking=GRID))
    for augment in ('Mixup', 'CutMix', 'ResizeMix'):
        model = MODELS.build(
            dict(
                **cfg,
                data_preprocessor=dict(mean=[0.5] * 3, std=[0.5] * 3, num_classes=5),
                train_cfg=dict(augments=dict(type=augment, alpha=1.0)),
            )
        )
        optim = build_optim_wrapper(model, ConfigDict(optimizer=dict(type='SGD', lr=0.1)))
        batch = [Images()[index] for index in range(4)]
        data = dict(
            inputs=torch.stack([item['inputs'] for item in batch]),
            data_samples=[item['data_samples'] for item in batch],
        )
        model.train()
        losses = model.train_step(data, optim)
        assert torch.isfinite(losses['loss'])


# ---------------------------------------------------------------------- bad input


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"fuse_at must be one of \('stem', 'levels', 'neck'\), but got 'head'"):
        MaskAny(R18, fuse_at='head')
    with pytest.raises(ValueError, match='write pretrained=None beside backbone= in a model of mmseg'):
        MaskAny(R18, pretrained='open-mmlab://resnet18_v1c')
    with pytest.raises(ValueError, match=r"library's prefix, as 'mmpretrain\.ResNet'"):
        MaskAny(dict(type='ResNet', depth=18))
    with pytest.raises(TypeError, match='backbone must be a config or a module'):
        MaskAny('resnet')
    with pytest.raises(ValueError, match='second stem already'):
        MaskAny(MaskAny(R18))
    with pytest.raises(TypeError, match='masking must be a config'):
        MaskAny(R18, masking='grid')
    with pytest.raises(KeyError, match=r"must be one of \['mmmaskany.PatchPattern'.*but got.*Spiral"):
        MaskAny(R18, masking=dict(pattern=dict(type='mmmaskany.SpiralPattern')))
    with pytest.raises(ValueError, match='sum to at most 1'):
        MaskAny(
            R18, masking=dict(pattern=dict(type='mmmaskany.MixturePattern', patterns=[GRID['pattern']], probs=[1.2]))
        )


def test_image_too_small_for_the_cells():
    model = MaskAny(R18, masking=dict(pattern=dict(type='mmmaskany.RandomPattern', scale=0.5, cell=16)))
    model.train()
    with pytest.raises(ValueError, match='8 x 8 px.*take a larger image or smaller cells'):
        model(torch.zeros(2, 3, 8, 8))


def test_built_parts_are_taken_as_they_are():
    host, masking = MODELS.build(R18), Masking(PatchPattern(scale=0.5))
    model = MaskAny(host, masking=masking)
    assert model is host and model.masking is masking


def test_given_configs_are_not_changed():
    host, masking = copy.deepcopy(R18), copy.deepcopy(GRID)
    MaskAny(host, masking=masking, init_cfg=dict(type='Kaiming', layer='Conv2d'))
    assert host == R18 and masking == GRID
