# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Pure Python configs, with classes where others have names: they train as these do."""

import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmmaskany.engine import launch
from mmmaskany.registry import library_of, name_of

CONFIG = """
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.optim import OptimWrapper
from mmpretrain.datasets import CustomDataset, LoadImageFromFile, PackInputs, RandomCrop
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import CrossEntropyLoss, GlobalAveragePooling, ImageClassifier, LinearClsHead, Mixup
from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.utils import ClsDataPreprocessor
from torch.optim import SGD

from mmmaskany.masking import GridPattern, MeanFill
from mmmaskany.models import MaskAny

default_scope = None
model = dict(
    type=ImageClassifier,
    backbone=dict(
        type=MaskAny,
        backbone=dict(type=ResNet_CIFAR, depth=18, stem_channels=4, base_channels=4),
        masking=dict(pattern=dict(type=GridPattern, scale=0.5, cell=4, base=1), fill=dict(type=MeanFill)),
    ),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=3, in_channels=32, loss=dict(type=CrossEntropyLoss)),
    train_cfg=dict(augments=[dict(type=Mixup, alpha=0.8)]),
)
data_preprocessor = dict(type=ClsDataPreprocessor, mean=[127.5] * 3, std=[127.5] * 3)


def loader(split, steps, shuffle):
    pipeline = [dict(type=LoadImageFromFile), *steps, dict(type=PackInputs)]
    return dict(
        batch_size=8,
        dataset=dict(type=CustomDataset, data_root={root!r}, data_prefix=split, pipeline=pipeline),
        sampler=dict(type=DefaultSampler, shuffle=shuffle),
    )


train_dataloader = loader('train', [dict(type=RandomCrop, crop_size=16)], True)
val_dataloader = test_dataloader = loader('val', [], False)
val_evaluator = test_evaluator = dict(type=Accuracy, topk=(1,))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.05))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, interval=1))
custom_hooks = [dict(type=EMAHook, momentum=0.1)]
del loader  # MMEngine writes down what is left
"""


def test_names_and_libraries():
    assert name_of('mmengine.EMAHook') == 'EMAHook'
    assert name_of(Config) == 'Config' and name_of(None) == 'None'
    assert library_of(dict(default_scope='mmdet')) == 'mmdet' and library_of(dict()) is None
    from mmpretrain.models import ImageClassifier

    assert library_of(dict(default_scope=None, model=dict(type=ImageClassifier))) == 'mmpretrain'


def test_classes_in_place_of_names(image_folder, tool, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.replace('{root!r}', repr(str(image_folder))))
    tool('train')([str(path), '--work-dir', str(tmp_path / 'run'), '--amp'])
    written = tmp_path / 'run' / 'epoch_1.pth'
    assert written.exists()
    tool('test')([str(path), str(written), '--work-dir', str(tmp_path / 'test')])


@pytest.mark.skipif(torch.cuda.is_available(), reason='what it is without a GPU')
def test_mixed_precision_of_classes():
    from mmengine.optim import AmpOptimWrapper, OptimWrapper

    for kind in (OptimWrapper, AmpOptimWrapper):
        cfg = Config(dict(optim_wrapper=dict(type='x')))
        cfg.optim_wrapper.type = kind
        launch.use_amp(cfg)
        assert cfg.optim_wrapper.type == 'mmmaskany.CpuAmpOptimWrapper'


def test_sync_bn_and_pretrained_as_classes():
    from mmengine.model import PretrainedInit
    from torch.nn import SyncBatchNorm

    node = ConfigDict(norm_cfg=dict(type=SyncBatchNorm))
    assert launch._replace_sync_bn(node) == 1 and node.norm_cfg.type == 'BN'
    with pytest.raises(FileNotFoundError, match=r'model\.init_cfg\.checkpoint must be an existing file'):
        launch.check_pretrained(ConfigDict(init_cfg=dict(type=PretrainedInit, checkpoint='none.pth')))
