# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported: small tests lose time to thread pools

import copy
import functools
import gc
import importlib.util
import sys
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter


def pytest_addoption(parser):
    parser.addoption(
        '--full', action='store_true', help='also what takes minutes: twenty kills, every broken config, slow tests'
    )


def pytest_collection_modifyitems(config, items):
    reasons = {}
    if not torch.cuda.is_available():
        reasons['gpu'] = 'needs a CUDA device'
    if not config.getoption('--full'):
        reasons['slow'] = 'needs --full'
    for item in items:
        for name, reason in reasons.items():
            if name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope='module', autouse=True)
def compiled_anew():
    """Let each file compile from the beginning: torch counts how often a function was compiled in a process."""
    if 'torch._dynamo' in sys.modules:
        torch._dynamo.reset()


@pytest.fixture(autouse=True)
def no_default_scope():
    """Start each test without a default scope: which registry a name is sought in must not hang on other tests."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def full(request):
    """Tell whether all is asked for (``--full``), or as much as is worth its time in every run of the tests."""
    return request.config.getoption('--full')


@pytest.fixture(scope='session')
def image_folder(tmp_path_factory):
    """44 training and 12 validation images of 3 classes, 20 x 20 pixels, as class folders."""
    root = tmp_path_factory.mktemp('images')
    generator = np.random.default_rng(0)
    for split, count in (('train', 44), ('val', 12)):
        for index in range(count):
            folder = root / split / 'abc'[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            image = generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            image[:, :, index % 3] //= 4
            cv2.imwrite(str(folder / f'{index:02d}.png'), image)
    return root


@pytest.fixture(scope='session')
def write_config(image_folder):
    """Write the config of a tiny MaskAny training, with all that is random: ``write_config(folder, name, **changes)``.

    Random crops and flips in two workers, mixup and cutmix, masks; weights are averaged. 6 batches of 8 make an epoch.
    """

    def write(folder, name='tiny', **changes):
        def loader(split, transforms, shuffle):
            pipeline = [dict(type='LoadImageFromFile'), *transforms, dict(type='PackInputs')]
            dataset = dict(type='CustomDataset', data_root=str(image_folder), data_prefix=split, pipeline=pipeline)
            sampler = dict(type='DefaultSampler', shuffle=shuffle)
            return dict(batch_size=8, num_workers=2, persistent_workers=True, sampler=sampler, dataset=dataset)

        pattern = dict(type='mmmaskany.RandomPattern', scale=0.5, cell=4, base=1)
        backbone = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
        cfg = Config(
            dict(
                default_scope='mmpretrain',
                experiment_name=uuid.uuid4().hex,  # MMEngine keeps one state per name and second
                model=dict(
                    type='ImageClassifier',
                    data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
                    backbone=dict(type='mmmaskany.MaskAny', backbone=backbone, masking=dict(pattern=pattern)),
                    neck=dict(type='GlobalAveragePooling'),
                    head=dict(
                        type='LinearClsHead',
                        num_classes=3,
                        in_channels=32,
                        loss=dict(type='CrossEntropyLoss'),
                        topk=(1,),
                    ),
                    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
                ),
                train_dataloader=loader(
                    'train', [dict(type='RandomCrop', crop_size=16, padding=2), dict(type='RandomFlip', prob=0.5)], True
                ),
                val_dataloader=loader('val', [], False),
                test_dataloader=loader('val', [], False),
                val_evaluator=dict(type='Accuracy', topk=(1,)),
                test_evaluator=dict(type='Accuracy', topk=(1,)),
                train_cfg=dict(by_epoch=True, max_epochs=2),
                val_cfg=dict(),
                test_cfg=dict(),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
                param_scheduler=[dict(type='CosineAnnealingLR', T_max=12, end=12, by_epoch=False)],
                default_hooks=dict(
                    checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', interval=1),
                    logger=dict(type='LoggerHook', interval=2),
                ),
                custom_hooks=[dict(type='EMAHook', momentum=0.1)],
                auto_scale_lr=dict(enable=False, base_batch_size=8),
                randomness=dict(seed=0),
            )
        )
        cfg.merge_from_dict(copy.deepcopy(changes))
        path = folder / f'{name}.py'
        cfg.dump(path)
        return str(path)

    return write


@pytest.fixture
def tiny_config(write_config, tmp_path):
    """Write such a config into this test's folder: ``tiny_config(name, **changes)``."""
    return functools.partial(write_config, tmp_path)


@pytest.fixture(scope='session')
def tool():
    """Return the ``main`` function of a script in tools/: ``tool('train')([config, '--resume'])``."""

    def load(name):
        path = Path(__file__).resolve().parents[1] / 'tools' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'{path.stem}_tool', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

        def main(argv):
            try:
                return module.main(argv)
            finally:  # the garbage collector would wait 5 s for every worker
                for thing in gc.get_objects():
                    if type(thing) is _MultiProcessingDataLoaderIter:
                        thing._shutdown_workers()

        return main

    return load


@pytest.fixture(scope='session')
def trained(write_config, tool, tmp_path_factory):
    """The work dir of two epochs with seed 0, two workers and validation, trained in one go."""
    folder = tmp_path_factory.mktemp('trained')
    tool('train')([write_config(folder), '--work-dir', str(folder)])
    return folder
