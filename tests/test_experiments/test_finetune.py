# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import argparse
import csv
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from generated_images import TINY, write_classes
from mmengine.config import Config
from mmpretrain.registry import MODELS

import mmmaskany
from mmmaskany import cli, user_errors
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.experiments import finetune as command
from mmmaskany.experiments import plan as planning
from mmmaskany.experiments.configs import check_space, find_odd, write
from mmmaskany.experiments.data import TASKS, look
from mmmaskany.experiments.networks import find_network
from mmmaskany.experiments.report.explain import unmatched
from mmmaskany.experiments.report.write import class_mean, paired, say
from mmmaskany.experiments.runs import Result
from mmmaskany.experiments.variants import VARIANTS, check_variants


def run(*options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args(list(map(str, options))))


def make_plan(root, network, out, variants=('plain', 'maskany'), size=32, **options):
    data = look(root)
    found = find_network(str(network), None, data.task != 'classification', size)
    return planning.choose(data, found, out, check_variants(variants, data.task), [0], size, **options)


# ---------------------------------------------------------------------- numbers


def test_paired_difference_by_hand():
    mean, half = paired({0: 81.0, 1: 83.0, 2: 85.0}, {0: 80.0, 1: 81.0, 2: 82.0, 3: 0.0})
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)  # the t table, two degrees of freedom
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert paired({0: 2.0}, {0: 1.0})[0] == 1.0 and math.isnan(paired({0: 2.0}, {0: 1.0})[1])


def test_the_sentence():
    assert say('MaskAny', 'plain', (0.4, 0.5), 3, 'top-1') == (
        'MaskAny is 0.4 ± 0.5 points above plain in top-1: three seeds cannot tell it from chance.'
    )
    assert 'below plain' in say('MaskAny', 'plain', (-2.0, 0.5), 5, 'top-1')
    assert 'with five seeds this is unlikely to be chance' in say('MaskAny', 'plain', (-2.0, 0.5), 5, 'top-1')
    assert 'one seed cannot tell' in say('MaskAny', 'plain', (9.0, math.nan), 1, 'top-1')
    for half, seeds in ((0.5, 3), (math.nan, 1), (0.01, 3)):
        assert 'no difference can be told (+0.0' in say('MaskAny', 'plain', (0.02, half), seeds, 'top-1')


def test_class_mean_counts_each_class_alike():
    assert class_mean(np.array([0, 0, 0, 2]), np.array([0, 0, 0, 1])) == 50.0


def test_boxes_without_a_counterpart():
    boxes = [[0, 0, 10, 10, 1], [20, 20, 30, 30, 1]]
    assert unmatched(boxes, [[1, 0, 10, 10, 1], [20, 20, 30, 30, 2]]) == 1
    assert unmatched(boxes, []) == 2


def test_anchors_follow_the_boxes():
    tall = np.array([[20.0, 40.0]] * 50 + [[40.0, 20.0]] * 50)
    scale, ratios = planning.anchors(tall, 4)
    assert scale == 7.0  # the root of 800 px by 4
    assert ratios[0] == 0.5 and ratios[-1] == 2.0
    assert planning.anchors(np.full((9, 2), 6.0), 4) == (2.0, [0.7, 1.0, 1.4])


# ---------------------------------------------------------------------- what is written


@pytest.mark.parametrize('variant', [name for name, variant in VARIANTS.items() if 'classification' in variant.tasks])
def test_every_variant_trains_a_step(class_folders, tiny_network, tmp_path, variant):
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out', ('plain', variant))
    from mmengine.optim import OptimWrapper
    from mmengine.registry import DATASETS, MODELS

    config = write(plan)[variant]
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    samples = [dataset[index] for index in range(4)]
    batch = dict(
        inputs=torch.stack([sample['inputs'] for sample in samples]),
        data_samples=[sample['data_samples'] for sample in samples],
    )
    losses = model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    assert math.isfinite(float(losses['loss']))
    plain = ('plain', 'cutout', 'random-erasing', 'cutmix', 'masksub', 'autoaugment')
    assert hasattr(model.backbone, 'dual_stem') == (variant not in plain)


DENSE = [(task, name) for task in TASKS[1:] for name, variant in VARIANTS.items() if task in variant.tasks]


@pytest.mark.parametrize(('task', 'variant'), DENSE)
def test_every_variant_of_a_dense_task_trains_a_step(boxes, label_maps, tiny_network, tmp_path, task, variant):
    from mmengine.dataset import pseudo_collate
    from mmengine.optim import OptimWrapper
    from mmengine.registry import DATASETS, MODELS, init_default_scope

    root = boxes() if task == 'detection' else label_maps()
    plan = make_plan(root, tiny_network, tmp_path / 'out', ('plain', variant), size=64)
    cfg = Config.fromfile(write(plan)[variant])
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = pseudo_collate([dataset[index] for index in range(4)])
    losses = model.train_step(batch, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    assert math.isfinite(float(losses['loss']))
    assert any(name.startswith('sub.') for name in losses) == (variant == 'masksub')
    policy = variant.removeprefix('masked-')
    if policy != variant and task == 'detection':
        assert model.objects.policy == policy and 'masked_share' in losses
    elif policy != variant:
        assert model.hidden_weight == dict(keep=1, ignore=0)[policy]


@pytest.mark.parametrize('task', TASKS)
def test_steps_are_those_of_the_loader(class_folders, boxes, label_maps, tiny_network, tmp_path, monkeypatch, task):
    """Also where the last batch would be of one image, which is left out, but for a detector's."""
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    root = dict(classification=lambda: class_folders('red', 'blue'), detection=boxes, segmentation=label_maps)[task]()
    if task == 'detection':  # mmdet leaves out an image without objects
        path = next(root.glob('annotations/*.json'))
        content = json.loads(path.read_text())
        content['annotations'].pop(0)
        path.write_text(json.dumps(content))
    plan = make_plan(root, tiny_network, tmp_path / 'out', ('plain',), size=64)
    for batch in (plan.share - 1, plan.share, 4):
        monkeypatch.setattr(planning.Plan, 'batch', batch)
        plan.out = tmp_path / f'{batch}'
        cfg = Config.fromfile(write(plan)['plain'])
        init_default_scope(cfg.default_scope)
        loader = Runner.build_dataloader(dict(cfg.train_dataloader, num_workers=0, persistent_workers=False), seed=0)
        sizes = [len(each['inputs']) for each in loader]
        assert len(sizes) == len(loader) == plan.steps
        assert sum(sizes) == plan.share - plan.drops_last
        assert plan.drops_last == (task != 'detection' and plan.share % batch == 1)


@pytest.mark.parametrize(('gpus', 'images', 'steps', 'drops'), [(2, 18, 2, True), (2, 17, 2, True), (1, 9, 2, True)])
def test_steps_of_several_processes(class_folders, tiny_network, tmp_path, monkeypatch, gpus, images, steps, drops):
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out', ('plain',), gpus=gpus)
    monkeypatch.setattr(planning.Plan, 'batch', 4)
    samples = plan.data.splits['train'].samples
    plan.data.splits['train'].samples = (samples * images)[:images]
    assert (plan.steps, plan.drops_last) == (steps, drops)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('size', [64, 96, 112, 160, 224, 256, 384, 480])
def test_cells_reach_every_border(class_folders, boxes, label_maps, tiny_network, tmp_path, task, size):
    root = dict(classification=lambda: class_folders('red', 'blue'), detection=boxes, segmentation=label_maps)[task]()
    plan = make_plan(root, tiny_network, tmp_path / 'out', ('plain', 'masksub'), size=size)
    cells = VARIANTS['masksub'].changes(plan)['model']['sub_masking']['pattern']
    cell, side = cells['cell'], size if task != 'detection' else -(-size // 32) * 32
    assert side % cell == 0 and side / 14 <= cell <= side / 4 or task == 'detection' and cell == 32 and side > 448


def test_variants_of_reuse_differ_in_it_alone(class_folders, tiny_network, tmp_path):
    names = ('maskany', 'noreuse', 'aligned', 'in-place', 'early', 'maskany-autoaugment', 'unmasked-autoaugment')
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out', ('plain', *names), epochs=20)
    paths = write(plan)
    cfgs = {name: Config.fromfile(paths[name]) for name in names}
    maskings = {name: cfg.model.backbone.masking for name, cfg in cfgs.items()}
    base = maskings['maskany']
    for name, reuse in (('noreuse', False), ('aligned', 'aligned'), ('in-place', 'in_place')):
        assert maskings[name] == dict(base, reuse=reuse)
    assert maskings['early'] == base
    off = dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin=13)
    assert [dict(hook) for hook in cfgs['early'].custom_hooks] == [off] and 'custom_hooks' not in cfgs['maskany']
    pixels = cfgs['maskany'].model.data_preprocessor
    augment = dict(type='mmmaskany.AutoAugmentViews', policy='imagenet', mean=[*pixels.mean], std=[*pixels.std])
    augment['bgr'] = not pixels.to_rgb
    assert maskings['maskany-autoaugment'] == dict(base, augment=augment)
    unmasked = dict(base, augment=augment, pattern=dict(base.pattern, probs=[0.0, 0.0]))
    assert maskings['unmasked-autoaugment'] == unmasked


def test_early_masks_leave_the_hooks_of_dense_tasks(boxes, tiny_network, tmp_path):
    found = find_network(str(tiny_network), None, True, 64)
    found.start = {'bn1.running_var': torch.ones(4)}
    plan = planning.choose(look(boxes()), found, tmp_path / 'out', ['plain', 'early'], [0], 64)
    hooks = Config.fromfile(write(plan)['early']).custom_hooks
    assert [hook.type for hook in hooks] == ['mmmaskany.FrozenNormHook', 'mmmaskany.MaskScheduleHook']


def test_plain_images_with_autoaugment(class_folders, tiny_network, tmp_path):
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out', ('plain', 'autoaugment'))
    plain, augmented = (Config.fromfile(path) for path in write(plan).values())
    steps = list(plain.train_dataloader.dataset.pipeline)
    step = dict(type='mmmaskany.TorchvisionAutoAugment', policy='imagenet')
    assert augmented.train_dataloader.dataset.pipeline == [*steps[:-1], step, steps[-1]]
    assert augmented.val_dataloader == plain.val_dataloader


def test_configs_say_what_was_chosen_and_stay_when_edited(class_folders, tiny_network, tmp_path):
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out', epochs=3)
    path = write(plan)['maskany']
    cfg = Config.fromfile(path)
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.head.num_classes == 2
    assert cfg.model.backbone.type == 'mmmaskany.MaskAny'
    assert cfg.model.backbone.backbone.type == 'mmpretrain.ResNet'
    assert Config.fromfile(path.with_name('plain.py')).model.backbone == cfg.model.backbone.backbone
    path.write_text(path.read_text() + '\nlog_level = "DEBUG"\n')
    assert Config.fromfile(write(plan)['maskany']).log_level == 'DEBUG'


def test_detectors_take_anchors_and_widths(boxes, label_maps, tiny_network, tmp_path):
    plan = make_plan(boxes(), tiny_network, tmp_path / 'out', size=64)
    model = Config.fromfile(write(plan)['maskany']).model
    assert (model.type, model.neck.in_channels, model.neck.out_channels) == ('MaskRCNN', [4, 8, 16, 32], 32)
    assert model.rpn_head.anchor_generator.scales == [5.0]
    assert model.roi_head.bbox_head.num_classes == model.roi_head.mask_head.num_classes == 3
    plan = make_plan(label_maps(root=tmp_path / 'maps'), tiny_network, tmp_path / 'out2')
    model = Config.fromfile(write(plan)['plain']).model
    assert (model.decode_head.type, model.decode_head.num_classes, model.neck.out_channels) == ('FPNHead', 4, 32)


def test_dense_tasks_keep_the_statistics_of_their_weights(boxes, class_folders, tiny_network, tmp_path):
    found, root = find_network(str(tiny_network), None, True, 64), boxes()
    classes = class_folders('red', 'blue', root=tmp_path / 'classes')
    batch_norm, layer_norm = {'bn1.running_var': torch.ones(4)}, {'norm.weight': torch.ones(4)}
    cases = ((root, batch_norm, True), (root, layer_norm, False), (root, None, False), (classes, batch_norm, False))
    for number, (path, found.start, kept) in enumerate(cases):
        plan = planning.choose(look(path), found, tmp_path / str(number), ['plain'], [0], 64)
        assert ('statistics' in dict(planning.describe(plan))['recipe']) == kept
        hooks = Config.fromfile(write(plan)['plain']).get('custom_hooks', [])
        assert hooks == [dict(type='mmmaskany.FrozenNormHook')] * kept


def test_channels_last_is_chosen_said_and_another_experiment(class_folders, tiny_network, tmp_path):
    root, out = class_folders('red', 'blue'), tmp_path / 'out'
    plan, default = (make_plan(root, tiny_network, out, ('plain', 'early'), channels_last=on) for on in (True, False))
    assert 'channels_last' in dict(planning.describe(plan))['recipe']
    assert 'channels_last' not in dict(planning.describe(default))['recipe']
    hook = dict(type='mmmaskany.ChannelsLastHook')
    cfgs = {name: Config.fromfile(path) for name, path in write(plan).items()}
    assert cfgs['plain'].custom_hooks == [hook]
    assert [item.type for item in cfgs['early'].custom_hooks] == [hook['type'], 'mmmaskany.MaskScheduleHook']
    older = {key: value for key, value in default.identity().items() if key != 'channels_last'}
    (out / 'experiment.json').write_text(json.dumps(older))
    command._same(default)
    with pytest.raises(ValueError, match='channels_last False there, True now'):
        command._same(plan)


@pytest.mark.skipif(torch.cuda.is_available(), reason='on a GPU it is allowed')
def test_channels_last_is_refused_where_it_overwrites_memory(class_folders, tiny_network, tmp_path):
    with pytest.raises(ValueError, match=r'--channels-last must be left out .* 2, layer2.0.downsample'):
        run(class_folders('red', 'blue'), '--model', tiny_network, '--out', tmp_path / 'out', '--channels-last')
    assert not (tmp_path / 'out').exists()


def test_a_learning_rate_is_taken_as_it_is(class_folders, tiny_network, tmp_path):
    root = class_folders('red', 'blue')
    for lr, wanted in ((None, 1e-3), (3e-4, 3e-4)):  # the recipe's from scratch is twice 5e-4
        configs = write(make_plan(root, tiny_network, tmp_path / str(lr), lr=lr))
        assert Config.fromfile(configs['maskany']).optim_wrapper.optimizer.lr == wanted
    assert make_plan(root, tiny_network, tmp_path, lr=3e-4).identity()['rate'] == 3e-4


# ---------------------------------------------------------------------- bad input


def test_wrong_options_leave_nothing(class_folders, tiny_network, tmp_path):
    root, out = class_folders('red', 'blue'), tmp_path / 'out'
    base = (root, '--model', tiny_network, '--out', out, '--size', 32)
    for wrong, message in (
        (('--variants', 'plain', 'mask-any'), '--variants must be of plain, maskany'),
        (('--seeds', 0), '--seeds must be at least 1'),
        (('--size', 8), '--size must be at least 32'),
        (('--lr', 0), '--lr must be above 0 and below 1, but got 0'),
        (('--lr', 'nan'), '--lr must be above 0 and below 1, but got nan'),
        (('--model', 'resnet81'), 'spelled alike are'),
        (('--weights', tmp_path / 'none.pth'), 'none.pth'),
        (('--zero-label', 'background'), '--zero-label needs label maps'),
        (
            ('--variants', 'early', '--epochs', 1),
            'early masks in the first two thirds of the epochs, so --epochs must be at l',
        ),
        (('--out', tiny_network / 'out', '--dry-run'), 'MB can be written, but got: Not a directory'),
        (('--out', '/proc/out', '--dry-run'), 'MB can be written, but got: '),
    ):
        with pytest.raises((ValueError, OSError), match=re.escape(message)):
            run(*base, *wrong)
        assert not out.exists()
    assert run(*base, '--dry-run') == 0
    assert check_variants(['cutmix', 'masked-drop'], None) == ['cutmix', 'masked-drop']  # the task is not known yet
    with pytest.raises(ValueError, match='--variants of classification must be of .*, but got masked-drop'):
        run(*base, '--variants', 'plain', 'masked-drop', '--dry-run')
    assert not out.exists()
    with pytest.raises(ValueError, match='--variants of detection must be of plain, maskany, unmasked, noreuse'):
        check_variants(['cutmix'], 'detection')
    with pytest.raises(ValueError, match='segmentation must be of plain, .*masked-ignore, but got masked-drop'):
        check_variants(['masked-keep', 'masked-drop'], 'segmentation')


@pytest.mark.parametrize('name', ['timm/vit_tiny_patch16_224', 'timm/swin_tiny_patch4_window7_224'])
def test_a_network_of_one_size_gets_it(name, class_folders, tmp_path, capsys):
    pytest.importorskip('timm')
    argv = ['finetune', class_folders('red', 'blue'), '--model', name, '--out', tmp_path / 'out', '--dry-run']
    argv = list(map(str, argv))
    assert user_errors.run(cli.main, argv) == 0  # of smaller images
    assert 'input     224 px, bicubic' in capsys.readouterr().out
    assert user_errors.run(cli.main, [*argv, '--size', '96']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'--size must be 224 for {name}, which was made for it and takes no images of 96 px: give --size 224' in line


def test_the_size_of_a_network_is_its_own_where_it_takes_no_other():
    pytest.importorskip('timm')
    assert find_network('timm/vit_tiny_patch16_384', None, dense=False, size=64).size == 384
    assert find_network('timm/vit_tiny_patch16_224', None, dense=False, size=224).size == 224
    assert find_network('timm/test_vit', None, dense=False, size=64).size == 64  # made for 160 px


def test_early_masks_need_two_epochs():
    assert check_variants(['early'], 'detection', 2) == check_variants(['early'], 'detection') == ['early']
    assert check_variants(['maskany'], 'detection', 1) == ['maskany']
    with pytest.raises(
        ValueError, match='--epochs must be at least 2, but got 1: with one it would be the same as mask'
    ):
        check_variants(['plain', 'EARLY'], 'detection', 1)


def test_weights_of_another_network(class_folders, tiny_network, tmp_path):
    torch.save({'conv9.weight': torch.zeros(3)}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth must hold the weights of .*tiny'):
        run(class_folders('red', 'blue'), '--model', tiny_network, '--weights', tmp_path / 'other.pth', '--out', 'x')
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / 'resnet18.pth')
    with pytest.raises(ValueError, match=r'resnet18\.pth must .*probably of timm/resnet18: give --model timm/resnet18'):
        run(class_folders('red', 'blue'), '--model', tiny_network, '--weights', tmp_path / 'resnet18.pth', '--out', 'x')


@pytest.mark.parametrize(
    ('case', 'message'),
    [
        ('nowhere', 'there is no'),
        ('no images', 'must hold images'),
        ('one class', "at least two classes, but .* holds one, 'red'"),
        ('one image', 'at least two images to train on, but blue'),
        ('two readings', 'fits two readings'),
        ('unknown variant', '--variants must be of plain, maskany'),
        ('no weights', '--weights must be a file'),
        ('a folder as weights', 'must be an existing file, but got .*, a folder'),
        ('a config without a model', 'must be a config with a `model`'),
        ('a broken config', r"must be Python, but line 1, 'model = dict\('"),
        ('too large', '--size must be at most 4096 px'),
        ('nothing readable', r'but blue of .* has none; 2 images cannot be read'),
        ('no space', r'where .* MB can be written, but got: File too large'),
        ('wrong labels', 'must belong to'),
        ('zero of no label map', '--zero-label needs label maps, but .* holds folders of 2 classes, of classification'),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    case, message, class_folders, boxes, tiny_network, tmp_path, capsys
):
    root, out, more = tmp_path / 'data', tmp_path / 'out', []
    if case == 'no images':
        root.mkdir()
    elif case == 'one class':
        class_folders('red')
    elif case == 'wrong labels':
        path = boxes() / 'annotations' / 'instances_all.json'
        content = json.loads(path.read_text())
        content['annotations'][-1]['category_id'] = 77
        path.write_text(json.dumps(content))
    elif case != 'nowhere':
        class_folders('red', 'green')
    if case == 'one image':
        class_folders('blue', count=1)
    elif case == 'two readings':
        (root / 'labels.csv').write_text('\n'.join(f'red/{i}.png,{"ab"[i % 2]}' for i in range(8)))
    elif case == 'unknown variant':
        more = ['--arms', 'mask-any']
    elif case == 'no weights':
        more = ['--weights', tmp_path / 'none.pth']
    elif case == 'a folder as weights':
        more = ['--weights', tmp_path]
    elif case == 'zero of no label map':
        more = ['--zero-label', 'background']
    elif 'config' in case:
        (tmp_path / 'a.py').write_text('a = 1' if 'without' in case else 'model = dict(')
        more = ['--model', tmp_path / 'a.py']
    elif case == 'too large':
        more = ['--size', 100_000]
    elif case == 'nothing readable':
        (root / 'blue').mkdir()
        for name in '12':
            (root / 'blue' / f'{name}.jpg').write_bytes(b'no image')
    argv = ['finetune', root, '--model', tiny_network, '--size', 64, '--out', out, *more]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if case == 'no space':
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        assert user_errors.run(cli.main, list(map(str, argv))) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert not out.exists()


def test_what_is_odd_is_what_the_checks_find(boxes, tiny_network, tmp_path):
    path = boxes() / 'annotations' / 'instances_all.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'][2] = 0
    path.write_text(json.dumps(content))
    plan = make_plan(path.parents[1], tiny_network, tmp_path / 'out', size=64)
    (text,) = find_odd(plan)
    assert text.startswith('1 of ') and f'boxes have no area and are left out, in {path}: annotation 1' in text
    assert not (tmp_path / 'out').exists()


def test_a_full_disk_is_said_before_anything_is_written(class_folders, tiny_network, tmp_path, monkeypatch):
    plan = make_plan(class_folders('red', 'blue'), tiny_network, tmp_path / 'out')
    plan.network.parameters = 10**15
    for make in (True, False):
        with pytest.raises(OSError, match='must be a folder where .* MB can be written'):
            check_space(plan, make)
        assert not (tmp_path / 'out').exists()


def test_a_folder_with_other_things_is_refused(class_folders, tiny_network, tmp_path):
    root, out = class_folders('red', 'blue'), tmp_path / 'out'
    (out / 'data').mkdir(parents=True)
    (out / 'data' / 'train.txt').write_text('of a person')
    (out / 'log.txt').write_text('no matter')
    with pytest.raises(ValueError, match=f'{out} has no experiment.json and holds data already'):
        run(root, '--model', tiny_network, '--out', out)
    assert (out / 'data' / 'train.txt').read_text() == 'of a person'
    assert not (out / 'configs').exists()


@pytest.mark.parametrize('name', ['weights.pth', 'table.md', 'results.csv', 'figures', 'maskany'])
def test_nothing_of_a_person_is_written_over(name, class_folders, tiny_network, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / name).write_text('of a person')
    with pytest.raises(ValueError, match=f'has no experiment.json and holds {name} already'):
        run(class_folders('red', 'blue'), '--model', tiny_network, '--out', tmp_path / 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [name]


@pytest.mark.parametrize('content', ['[1]', 'not JSON'])
def test_a_foreign_experiment_is_refused(content, class_folders, tiny_network, tmp_path):
    (tmp_path / 'experiment.json').write_text(content)
    with pytest.raises(ValueError, match='experiment.json is of something else'):
        run(class_folders('red', 'blue'), '--model', tiny_network, '--out', tmp_path)


def test_images_are_not_written_among(class_folders, tiny_network):
    root = class_folders('red', 'blue')
    for out in (root, root / 'red'):
        with pytest.raises(ValueError, match='OUT must be'):
            run(root, '--model', tiny_network, '--out', out)
    assert not list(root.rglob('configs'))


def test_other_weights_labels_or_networks_are_another_experiment(class_folders, tiny_network, tmp_path):
    root = class_folders('red', 'blue')
    torch.manual_seed(0)
    backbone = MODELS.build(Config.fromfile(tiny_network).backbone)
    for name in ('one', 'two'):
        torch.save(dict(state_dict=backbone.state_dict()), tmp_path / f'{name}.pth')
        backbone.conv1.weight.data.mul_(2)
    base = (root, '--model', tiny_network, '--out', tmp_path / 'out', '--size', 32, '--configs-only')
    weights = ('--weights', tmp_path / 'one.pth')
    assert run(*base, *weights) == run(*base, *weights) == 0
    kept = (tmp_path / 'out' / 'weights.pth').read_bytes()
    with pytest.raises(ValueError, match=r'\(other weights\): take another folder'):
        run(*base, '--weights', tmp_path / 'two.pth')
    deeper = tmp_path / 'deeper' / tiny_network.name
    deeper.parent.mkdir()
    deeper.write_text(tiny_network.read_text().replace('depth=18', 'depth=34'))
    with pytest.raises(ValueError, match='other network'):
        run(root, '--model', deeper, *base[3:])
    (root / 'blue').rename(root / 'white')  # as many, but red is another number
    with pytest.raises(ValueError, match=r'\(other images, labels or class names\)'):
        run(*base, *weights)
    assert (tmp_path / 'out' / 'weights.pth').read_bytes() == kept
    assert 'red' not in (tmp_path / 'out' / 'data' / 'train.txt').read_text().split()[0]


def test_configs_alone_are_left_to_be_edited(class_folders, tiny_network, tmp_path, capsys):
    argv = (class_folders('red', 'blue'), '--model', tiny_network, '--out', tmp_path / 'out', '--size', 32)
    assert run(*argv, '--configs-only') == run(*argv, '--configs-only') == 0
    assert 'edited  ' not in capsys.readouterr().out
    assert run(*argv, '--configs-only') == 0
    config = tmp_path / 'out' / 'configs' / 'plain.py'
    assert f'plain     {os.path.relpath(config)}' in capsys.readouterr().out.splitlines()
    assert not (tmp_path / 'out' / 'plain').exists() and not (tmp_path / 'out' / 'report.html').exists()
    config.write_text(config.read_text() + '\n# mine\n')
    assert run(*argv, '--configs-only') == 0  # goes on, and keeps what was edited
    assert config.read_text().endswith('# mine\n')
    edited = 'edited    configs/plain.py not as this command writes them: what stands there is trained'
    assert edited in capsys.readouterr().out
    with pytest.raises(ValueError, match='size 32 there, 64 now'):
        run(*argv[:-1], 64, '--configs-only')


# ---------------------------------------------------------------------- the whole command


EPOCHS = 4


def start(root, network, out, *more):
    """Start the command as a user does, as the leader of a group of processes."""
    arguments = [root, '--model', network, '--out', out, '--seeds', 1, '--epochs', EPOCHS, '--size', 32, *more]
    return subprocess.Popen(
        [sys.executable, '-m', 'mmmaskany', 'finetune', *map(str, arguments)],
        cwd=Path(mmmaskany.__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Five variants of a command on 24 images: a person broke the configs of three, each in another way."""
    folder = tmp_path_factory.mktemp('finetune')
    root, network, out = write_classes(folder / 'data', ('red', 'green', 'blue')), folder / 'tiny.py', folder / 'out'
    network.write_text(TINY)
    variants = ('--variants', 'cutout', 'unmasked', 'noreuse', 'plain', 'maskany')
    start(root, network, out, *variants, '--configs-only').communicate()
    for variant, change in (
        ('unmasked', 'model = dict(backbone=dict(depth=19))'),
        ('noreuse', 'model = dict(data_preprocessor=dict(std=[0.0, 0.0, 0.0]))'),
        ('cutout', 'import os\nos.kill(os.getpid(), 9)'),
    ):
        (out / 'configs' / f'{variant}.py').write_text(f"_base_ = './plain.py'\n{change}\n")
    command_line = start(root, network, out, *variants)
    said, _ = command_line.communicate()
    results = [Result(**result) for result in json.loads((out / 'results.json').read_text())]
    options = dict(model=str(network), seeds=1, epochs=EPOCHS, size=32)
    return root, out, options, results, command_line.returncode, said


def test_runs_that_die_do_not_take_the_others_along(finished):
    _, out, _, results, code, said = finished
    assert code == 1
    assert [result.variant for result in results] == ['plain', 'maskany']
    failed = re.findall(r'\*\*Failed: (.*)\*\*', (out / 'report.md').read_text())
    for variant, why in (('cutout', 'exit code -9'), ('unmasked', '19'), ('noreuse', 'loss')):
        assert any(line.startswith(f'{variant} seed 0 failed with') and why in line for line in said.splitlines())
        assert any(line.startswith(f'{variant} seed 0') and why in line for line in failed), (variant, failed)


def test_what_it_says_can_be_copied(finished):
    root, out, _, _, _, said = finished
    lines = said.splitlines()
    assert lines[-1] == str(out / 'report.html')
    assert f'data      {root}: folders of 3 classes' in lines
    assert any(line.startswith('images    18 train, 6 val') and '; 6 images a class;' in line for line in lines)
    assert any(line.startswith(f'budget    {EPOCHS} epochs of 1 step; ') for line in lines)
    assert not any(line != line.rstrip() for line in lines if 'trained' not in line)
    assert 'gpuGetDeviceCount' not in said and 'Warning' not in said


def test_killed_and_given_again_it_ends_as_if_nothing_had_been(finished, tmp_path):
    root, undisturbed, options, results, _, _ = finished
    out = tmp_path / 'out'
    command_line = start(root, options['model'], out, '--variants', 'plain', 'maskany')
    while not list((out / 'maskany').glob('seed0/epoch_*.pth')):
        assert command_line.poll() is None, command_line.communicate()[0]
        time.sleep(0.02)
    os.killpg(command_line.pid, signal.SIGKILL)
    command_line.wait()
    assert not (out / 'maskany' / 'seed0' / 'result.json').exists()
    before = (out / 'plain' / 'seed0' / 'train.log').read_bytes()

    again = start(root, options['model'], out, '--variants', 'plain', 'maskany')
    said, _ = again.communicate()
    assert again.returncode == 0, said
    assert (out / 'plain' / 'seed0' / 'train.log').read_bytes() == before
    assert 'resumed epoch' in (out / 'maskany' / 'seed0' / 'train.log').read_text()
    for variant, result in zip(('plain', 'maskany'), json.loads((out / 'results.json').read_text()), strict=True):
        expected = next(result for result in results if result.variant == variant)
        assert result['metrics'] == expected.metrics
        one, other = (
            read_checkpoint(place / variant / 'seed0' / f'epoch_{EPOCHS}.pth') for place in (undisturbed, out)
        )
        assert all(torch.equal(tensor, other['state_dict'][name]) for name, tensor in one['state_dict'].items())
    assert (out / 'report.html').is_file()


def test_the_report_says_it_all(finished):
    _, out, _, results, _, _ = finished
    page = (out / 'report.html').read_text()
    assert re.search('one seed cannot tell it from chance|one seed: no difference can be told', page)
    assert f'Runs of {EPOCHS} steps have no ratio' in page
    for heading in ('What they reached', 'Under occlusion', 'How they learned', 'What is confused', 'What they cost'):
        assert f'<h2>{heading}</h2>' in page
    assert 'http://' not in page and 'https://' not in page
    assert re.findall(r'src="(?!data:)', page) == []
    rows = list(csv.DictReader((out / 'results.csv').open()))
    assert [row['variant'] for row in rows] == ['plain', 'maskany']
    assert float(rows[0]['top-1 (%)']) == pytest.approx(results[0].metrics['accuracy/top1'], abs=1e-3)
    assert all(row['class mean (%)'] and row['random 50% masked'] for row in rows)


def test_given_again_nothing_is_trained_again_and_another_experiment_is_refused(finished):
    root, out, options, results, _, _ = finished
    (out / 'report.html').unlink()
    before = (out / 'plain' / 'seed0' / 'train.log').read_text()
    again = command.finetune(root, out=out, **dict(options, variants=['plain', 'maskany']))
    assert again == results and all(isinstance(result, Result) for result in again)
    assert (out / 'plain' / 'seed0' / 'train.log').read_text() == before
    assert (out / 'report.html').is_file()
    with pytest.raises(ValueError, match=f'epochs {EPOCHS} there, 2 now'):
        command.finetune(root, out=out, **dict(options, epochs=2))
    assert json.loads((out / 'experiment.json').read_text())['epochs'] == EPOCHS


@pytest.mark.skipif(shutil.which('chromium') is None, reason='needs chromium')
def test_a_browser_shows_the_report(finished, tmp_path):
    _, out, *_ = finished
    switches = ['--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path / "profile"}']
    dom = subprocess.run(
        ['chromium', *switches, '--dump-dom', (out / 'report.html').as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert dom.count('<h2>') >= 7 and 'MaskAny' in dom
    picture = tmp_path / 'report.png'
    switches += ['--window-size=1100,3000', f'--screenshot={picture}']
    subprocess.run(
        ['chromium', *switches, (out / 'report.html').as_uri()], capture_output=True, check=True, timeout=120
    )
    import cv2

    seen = cv2.imread(str(picture))
    assert seen.shape[1] == 1100
    assert (seen[:2000] != seen[0, 0]).any(-1).mean() > 0.05  # not an empty page
