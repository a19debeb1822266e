# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import re
from collections import OrderedDict

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.utils.batch_augments import RandomBatchAugment
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from mmmaskany import user_errors
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.reading import silence
from mmmaskany.checkpoints.starting import hold_to_files
from mmmaskany.engine import launch
from mmmaskany.engine.hooks.launch_check_hook import (
    check_checkpoint,
    check_class_count,
    check_compiled,
    check_late_fusion,
    check_partners,
    check_soft_labels,
)
from mmmaskany.masking import ImageFill, PatchPattern
from mmmaskany.models.batch_augments import MaskMix

MIX = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.PatchPattern', scale=0.5, base=1))


@pytest.fixture
def train(tiny_config, tool, tmp_path):
    """Train a changed tiny config: ``train('--amp', **changes)``."""

    def run(*args, **changes):
        tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'run'), *args])

    return run


# ---------------------------------------------------------------------- data and folders


@pytest.mark.parametrize('split', ['train', 'val'])
def test_missing_data(split, train, tmp_path):
    missing = tmp_path / 'digits'
    with pytest.raises(
        FileNotFoundError, match=rf'{split}_dataloader.dataset: {missing} must exist, but is missing'
    ) as caught:
        train(**{f'{split}_dataloader': dict(dataset=dict(data_root=str(missing)))})
    assert 'tools/dataset_converters/digits.py' in str(caught.value)
    assert f'--cfg-options {split}_dataloader.dataset.data_root=FOLDER' in str(caught.value)
    assert not (tmp_path / 'run').exists()


def test_missing_data_in_wrappers_and_unused_data(image_folder, tmp_path):
    inner = dict(type='CustomDataset', data_root=str(image_folder), data_prefix='train')
    wrapped = dict(type='ConcatDataset', datasets=[inner, dict(inner, data_prefix='none')])
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            work_dir=str(tmp_path),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=wrapped)),
            test_dataloader=dict(dataset=dict(type='CustomDataset', data_root='nowhere')),
            val_dataloader=dict(dataset=dict(type='CIFAR10', data_root='made/by/downloading', split='test')),
        )
    )
    with pytest.raises(FileNotFoundError, match=rf'\.dataset\.dataset\.datasets\.1: {image_folder}/none must exist,'):
        launch.check_files(cfg, ('train', 'val'))
    launch.check_files(cfg, ('val',))


def test_work_dir_that_cannot_be_made(tiny_config, tool, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=r'must be a folder where .*file/run'):
        tool('train')([tiny_config(), '--work-dir', str(tmp_path / 'file' / 'run')])


# ---------------------------------------------------------------------- class counts and checkpoints


def test_class_count(train):
    with pytest.raises(
        ValueError, match=r'head\.num_classes must be 3, the number of classes in the train data, but got 7'
    ):
        train(model=dict(head=dict(num_classes=7)))


def test_only_heads_of_the_data_are_compared():
    def head(count):
        module = nn.Module()
        module.num_classes = count
        return module

    model = nn.ModuleDict(
        dict(rpn_head=head(1), semantic_head=head(9), backbone=head(8), bbox_head=nn.ModuleList([head(3)]))
    )
    check_class_count(model, 3, 'the data')
    with pytest.raises(ValueError, match=r'bbox_head\.0\.num_classes must be 4, .* but got 3'):
        check_class_count(model, 4, 'the data')


def test_truncated_checkpoint_to_start_from(train, trained, tmp_path):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes((trained / 'epoch_2.pth').read_bytes()[:10_000])
    with pytest.raises(ValueError, match=f'{broken} must be a complete PyTorch file'):
        train(load_from=str(broken))
    with pytest.raises(ValueError, match=f'{broken} must be a complete PyTorch file'):
        train('--resume', str(broken))
    with pytest.raises(FileNotFoundError, match=r'must be an existing file, but got nowhere\.pth'):
        train('--resume', 'nowhere.pth')


def test_weights_cannot_be_resumed(train, tmp_path):
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'weights.pth')
    with pytest.raises(
        ValueError, match=r'weights.pth must hold a training state to resume from, but lacks message_hub'
    ):
        train('--resume', str(tmp_path / 'weights.pth'))


def test_foreign_checkpoint_to_start_from(train, tmp_path):
    torch.save(dict(state_dict=nn.Linear(2, 2).state_dict()), tmp_path / 'foreign.pth')
    with pytest.raises(
        ValueError, match=r'foreign.pth: the checkpoint does not fit the backbone MaskAny\w+: .* are missing'
    ):
        train(load_from=str(tmp_path / 'foreign.pth'))


def test_how_much_of_a_model_a_checkpoint_must_fill():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    whole = {f'module.{name}': tensor + 1 for name, tensor in model.state_dict().items()}
    check_checkpoint(model, dict(state_dict=whole), 'a.pth', complete=True)
    assert torch.equal(model[0].weight, whole['module.0.weight'])
    del whole['module.1.num_batches_tracked']  # as old checkpoints have it
    check_checkpoint(model, whole, 'a.pth', complete=True)

    part = {name: whole[name] for name in list(whole)[:1]}
    check_checkpoint(model, part, 'a.pth', complete=False)
    with pytest.raises(
        ValueError, match=r'a.pth must hold the tensors of this Sequential, but 5 of 6 are missing: 0.bias'
    ):
        check_checkpoint(model, part, 'a.pth', complete=True)
    other = dict(whole, **{'module.0.bias': torch.zeros(9)})
    check_checkpoint(model, other, 'a.pth', complete=False)
    with pytest.raises(ValueError, match=r'(?s)a.pth must hold .* but .*size mismatch for 0.bias'):
        check_checkpoint(model, other, 'a.pth', complete=True)
    with pytest.raises(ValueError, match=r'6 of 6 are missing'):
        check_checkpoint(model, {3: torch.zeros(1), 'model': {}}, 'a.pth', complete=False)


def test_a_checkpoint_of_a_larger_network_is_not_this_one():
    model = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 3)))
    tensors = {**model.state_dict(), 'backbone.reused.weight': torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r'1 of its tensors have no place there \(backbone.reused.weight\): give the co'
    ):
        check_checkpoint(model, tensors, 'a.pth', complete=True)
    check_checkpoint(model, tensors, 'a.pth', complete=False)  # to start from it will do
    tensors['auxiliary_head.weight'] = tensors.pop('backbone.reused.weight')  # a part that is not needed
    check_checkpoint(model, tensors, 'a.pth', complete=True)


@pytest.mark.parametrize(
    'host',
    [
        dict(type='mmpretrain.ResNet', depth=18),
        dict(
            type='mmdet.SwinTransformer', embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2)
        ),  # loads by itself
    ],
    ids=['ResNet', 'Swin'],
)
def test_a_plain_host_is_held_to_what_it_starts_from(host, tmp_path, capfd):
    pytest.importorskip('mmdet.models')
    path = tmp_path / 'plain.pth'
    source = MODELS.build(host)
    source.init_weights()
    MMLogger.get_instance(f'held-{host["type"]}', log_level='INFO')

    def start(tensors):
        torch.save(dict(state_dict={f'backbone.{name}': tensor for name, tensor in tensors.items()}), path)
        init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
        model = BaseModule()
        model.backbone = MODELS.build(dict(**host, init_cfg=init_cfg))
        hold_to_files(model)
        model.init_weights()
        return model.backbone

    whole = source.state_dict()
    model = start(dict(whole, **{'fc.bias': torch.zeros(3)}))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in model.state_dict().items())
    assert model.init_cfg['checkpoint'] == str(path) and 'init_weights' not in vars(model)
    said = ''.join(capfd.readouterr())
    assert f'{path} fills all' in said and 'left over: fc (1)' in said
    lacks = next(name for name in whole if 'layer2' in name or 'stages.1' in name)
    with pytest.raises(ValueError, match=rf'plain\.pth: the checkpoint does not fit .* 1 are missing \({lacks}\)'):
        start({name: tensor for name, tensor in whole.items() if name != lacks})
    with pytest.raises(ValueError, match='1 have no place'):
        start(dict(whole, **{lacks.replace('.0.', '.7.', 1): whole[lacks]}))
    with pytest.raises(ValueError, match='are missing'):
        start(dict(other=torch.zeros(1)))


def test_a_plain_host_does_not_take_half_of_a_network_with_two_stems(train, trained, tmp_path):
    host = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    init_cfg = dict(type='Pretrained', checkpoint=str(trained / 'epoch_2.pth'), prefix='backbone.')
    with pytest.raises(ValueError, match=r'have no place \(relu\.reused\.conv1\.weight'):
        train(model=dict(backbone=dict(_delete_=True, **host, init_cfg=init_cfg)), train_cfg=dict(max_epochs=1))


def test_training_refuses_a_start_from_nothing(train, tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'), prefix='backbone.')
    with pytest.raises(FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint must be an existing file'):
        train(model=dict(backbone=dict(init_cfg=init_cfg)))
    assert not (tmp_path / 'run').exists()


# ---------------------------------------------------------------------- what becomes of a config


def prepared(**changes):
    cfg = Config(dict(default_scope='mmpretrain', optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), work_dir='.'))
    cfg.merge_from_dict(changes)
    return cfg, launch.prepare_training(cfg)


def test_checkpoint_hook_is_the_safe_one():
    assert prepared()[0].default_hooks.checkpoint == dict(type='mmmaskany.AtomicCheckpointHook', interval=1)
    hook = dict(type='CheckpointHook', interval=5, save_best='auto')
    assert prepared(default_hooks=dict(checkpoint=hook))[0].default_hooks.checkpoint == dict(
        hook, type='mmmaskany.AtomicCheckpointHook'
    )
    other = dict(type='mmpretrain.Other')
    assert prepared(default_hooks=dict(checkpoint=other))[0].default_hooks.checkpoint == other


def test_accumulated_iterations_count_in_the_learning_rate():
    cfg, notes = prepared(
        auto_scale_lr=dict(enable=True, base_batch_size=64), optim_wrapper=dict(accumulative_counts=4)
    )
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert any('4 accumulated iterations' in note for note in notes)


def test_batches_of_mmpretrain_are_stacked():
    cfg, _ = prepared(train_dataloader=dict(batch_size=1), val_dataloader=dict(collate_fn=dict(type='other')))
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    assert cfg.val_dataloader.collate_fn == dict(type='other')
    cfg, _ = prepared(default_scope='mmdet', train_dataloader=dict(batch_size=1))
    assert 'collate_fn' not in cfg.train_dataloader


def test_ranks_need_no_seeds_of_their_own():
    cfg, notes = prepared(randomness=dict(seed=3, diff_rank_seed=True))
    assert cfg.randomness == dict(seed=3)
    assert any('diff_rank_seed' in note for note in notes)


@pytest.mark.parametrize('resume', [True, 'auto', 'epoch_1.pth'])
def test_checkpoint_and_its_seed_are_taken_up(resume, trained):
    resume, name = (str(trained / resume), resume) if resume == 'epoch_1.pth' else (resume, 'epoch_2.pth')
    cfg, notes = prepared(resume=resume, work_dir=str(trained), randomness=dict(seed=5))
    assert (cfg.resume, cfg.load_from, cfg.randomness.seed) == (True, str(trained / name), 0)
    assert any('instead of 5' in note for note in notes)


@pytest.mark.parametrize('resume', ['auto', 'epoch_2.pth'])
def test_masks_of_an_older_format_are_said_to_be_others(resume, trained, tmp_path):
    checkpoint = read_checkpoint(trained / 'epoch_2.pth')
    model = dict(backbone=dict(masking=dict(pattern=dict(type='mmmaskany.PatchPattern', scale=0.5))))
    for number, masks, said in ((3, True, True), (3, False, False), (4, True, False)):
        checkpoint['meta']['mmmaskany_format'] = number
        torch.save(checkpoint, tmp_path / 'epoch_2.pth')
        where = 'auto' if resume == 'auto' else str(tmp_path / resume)
        _, notes = prepared(resume=where, work_dir=str(tmp_path), **(dict(model=model) if masks else {}))
        assert (
            any('epoch_2.pth is of format 3, and since format 4 a seed draws other' in note for note in notes) == said
        )


def test_nothing_to_resume_starts_from_the_weights_of_the_config(tmp_path):
    cfg, notes = prepared(resume='auto', load_from='a.pth', work_dir=str(tmp_path), randomness=dict(seed=5))
    assert (cfg.resume, cfg.load_from, cfg.randomness.seed) == (False, 'a.pth', 5)
    assert any('no checkpoint' in note for note in notes)


@pytest.mark.skipif(torch.cuda.is_available(), reason='what it is without a GPU')
def test_mixed_precision_without_gpu():
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', accumulative_counts=2)
    cfg, notes = prepared(optim_wrapper=wrapper)
    assert cfg.optim_wrapper.type == 'mmmaskany.CpuAmpOptimWrapper'
    assert set(cfg.optim_wrapper) == {'type', 'accumulative_counts', 'optimizer'}
    assert any('bfloat16' in note for note in notes)
    with pytest.raises(ValueError, match=r'optim_wrapper.type to be OptimWrapper, but got DeepSpeedOptimWrapper'):
        launch.use_amp(Config(dict(optim_wrapper=dict(type='DeepSpeedOptimWrapper'))))


def test_sync_bn_is_found_everywhere():
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN'), heads=[dict(norm_cfg=dict(type='mmcv.MMSyncBN'))])))
    assert launch._replace_sync_bn(cfg.model) == 2
    assert cfg.model == dict(norm_cfg=dict(type='BN'), heads=[dict(norm_cfg=dict(type='BN'))])


def test_late_fusion_needs_its_neck():
    from mmmaskany.models import MaskAny, MaskAnyNeck

    host = dict(type='mmpretrain.ResNet', depth=18)
    late = MaskAny(host, fuse_at='neck')
    with pytest.raises(ValueError, match=r'MaskAnyResNet must be followed by mmmaskany.MaskAnyNeck, but the model has'):
        check_late_fusion(nn.Sequential(late))
    check_late_fusion(nn.Sequential(late, MaskAnyNeck(512)))
    for fuse_at in ('stem', 'levels'):
        check_late_fusion(nn.Sequential(MaskAny(host, fuse_at=fuse_at)))
        with pytest.raises(ValueError, match=r"MaskAnyNeck fuses the levels of a MaskAny backbone with fuse_at='neck'"):
            check_late_fusion(nn.Sequential(MaskAny(host, fuse_at=fuse_at), MaskAnyNeck(512)))


def mixing(augment):
    """Return a classifier's bones, whose batches are mixed."""
    model = nn.Module()
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.batch_augments = RandomBatchAugment(augment)
    return model


@pytest.mark.parametrize(
    ('model', 'name'),
    [(nn.Sequential(ImageFill()), 'ImageFill'), (mixing(MaskMix(PatchPattern(0.5))), 'MaskMix')],
    ids=['fill', 'mix'],
)
def test_images_that_are_filled_from_another_need_a_partner(model, name):
    images = list(range(9))
    message = f'{name} fills each image from another one .* must be at least 2 in each process, but got 1'
    with pytest.raises(ValueError, match=message):
        check_partners(model, DataLoader(images, batch_size=1))
    with pytest.raises(ValueError, match=message):
        check_partners(model, DataLoader(images, batch_sampler=BatchSampler(range(9), 1, False)))
    check_partners(nn.Sequential(), DataLoader(images, batch_size=1))
    check_partners(model, DataLoader(images, batch_size=2, drop_last=True))
    check_partners(model, DataLoader(images, batch_size=3))
    check_partners(model, DataLoader(images, batch_size=4, sampler=InfiniteSampler(images)))
    # Nine images in batches of four: the last batch is one image, which MaskMix passes unmixed.
    last = DataLoader(images, batch_size=4, sampler=DefaultSampler(images))
    if name == 'MaskMix':
        check_partners(model, last)
    else:
        with pytest.raises(ValueError, match='of 9 images in batches of 4 the last one has none: take .*drop_last'):
            check_partners(model, last)


def test_training_refuses_a_batch_of_one_where_images_are_mixed(train):
    with pytest.raises(ValueError, match='MaskMix fills each image from another one of its batch'):
        train(model=dict(train_cfg=dict(augments=[MIX])), train_dataloader=dict(batch_size=1))


def test_training_refuses_soft_labels_where_the_accuracy_needs_hard_ones(train):
    what = 'cal_acc=True of LinearClsHead needs hard labels, but MaskMix of train_cfg makes soft ones: take cal_acc=Fal'
    with pytest.raises(ValueError, match=what):
        train(model=dict(head=dict(cal_acc=True), train_cfg=dict(augments=[MIX])))


def test_a_loss_of_hard_labels_does_not_go_with_mixing():
    model = mixing([dict(type='CutMix', alpha=1.0), MaskMix(PatchPattern(0.5))])
    model.head = LinearClsHead(3, 8, loss=dict(type='SeesawLoss', num_classes=3))
    with pytest.raises(ValueError, match='SeesawLoss of LinearClsHead needs hard labels, but CutMix and MaskMix of'):
        check_soft_labels(model)
    model.head = LinearClsHead(3, 8)
    check_soft_labels(model)
    model.head.cal_acc, model.data_preprocessor.batch_augments = True, None
    check_soft_labels(model)


def test_training_refuses_an_augment_of_other_numbers(train, tmp_path):
    numbers = dict(policy='imagenet', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    masking = dict(augment=dict(type='mmmaskany.AutoAugmentViews', **numbers))
    with pytest.raises(
        ValueError, match=r'makes mean \[127.5, .*instead of \[123.675, .*give .*mean=\[127.5, 127.5, 127'
    ):
        train(model=dict(backbone=dict(masking=masking)))
    assert not list(tmp_path.glob('run/*.pth'))


@pytest.mark.parametrize('options', [True, dict(backend='eager'), {}])
def test_training_refuses_to_compile_what_hides_from_layers(options, train, tiny_config, tmp_path):
    hidden = dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=4, base=4)
    model = dict(
        type='mmmaskany.MaskSubClassifier',
        sub_masking=dict(type='mmmaskany.HideFromLayers', pattern=hidden),
        backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    )
    with pytest.raises(ValueError, match=r'^HideFromLayers masks what torch .* but got compile=.*: take compile=False'):
        train(model=model, compile=options)
    assert not list(tmp_path.glob('run/*.pth'))
    built = MODELS.build(Config.fromfile(tiny_config(model=model)).model)
    for other in (None, False, dict(disable=True)):
        check_compiled(built, other)
    check_compiled(built.backbone, True)


@pytest.mark.parametrize(
    ('library', 'model', 'message'),
    [
        (
            'mmdet',
            dict(type='MaskedDetector'),
            'host must be the type of the BaseDetector to build, .* but got None: give',
        ),
        ('mmdet', dict(type='MaskSubDetector'), "host must be .* but got None: give one, such as host='mmdet.Fast"),
        (
            'mmdet',
            dict(type='MaskedDetector', host='mmdet.MaskRCN'),
            "but got 'mmdet.MaskRCN' .*did you mean mmdet.MaskRCNN",
        ),
        ('mmseg', dict(type='MaskedSegmentor', host='mmseg.EncodDecoder'), 'did you mean mmseg.EncoderDecoder'),
    ],
)
def test_a_model_whose_host_is_missing_is_one_sentence(library, model, message, tiny_config, tool, tmp_path, capsys):
    pytest.importorskip(library)
    config = tiny_config(model=dict(model, _delete_=True, type=f'mmmaskany.{model["type"]}'))
    assert user_errors.run(tool('train'), [config, '--work-dir', str(tmp_path / 'run')]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if 'error: ' in line]
    assert re.search(message, line) and len(line) < 400


def test_silence_is_complete_and_ends(capfd):
    logger = MMLogger.get_instance('silence', logger_name='silence', log_level='INFO')
    logger.info('before')
    MMLogger.get_instance('other', logger_name='other', log_level='INFO')
    with silence():
        print_log('hidden', logger='current')
        print_log('a warning', logger='current', level=30)
    print_log('after', logger='current')
    seen = ''.join(capfd.readouterr())
    assert 'hidden' not in seen
    assert all(word in seen for word in ('before', 'a warning', 'after'))
