# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The block of the README, in configs of all three libraries."""

import importlib
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT

README = (ROOT / 'README.md').read_text()
((IMPORTS, MODEL),) = re.findall(r'```python\n(custom_imports = .+?\n)(model = .+?)```', README, re.DOTALL)


@pytest.mark.parametrize(
    ('base', 'host', 'levels', 'stride'),
    [
        ('mmpretrain::resnet/resnet50_8xb32_in1k.py', 'mmpretrain.ResNet', 1, 32),
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmdet.ResNet', 4, 32),
        ('mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', 'mmseg.ResNetV1c', 4, 32),
        ('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'mmseg.ResNetV1c', 4, 8),
    ],
)
def test_the_block_fits_a_config_of_every_library(base, host, levels, stride, tmp_path):
    scope = base.partition('::')[0]
    importlib.import_module(f'{pytest.importorskip(scope).__name__}.models')
    assert host == 'mmpretrain.ResNet' or f'`{host}`' in README
    base_cfg = Config.fromfile(Config._get_cfg_path(base, ROOT)[0])
    init_default_scope(base_cfg.default_scope)
    plain = MODELS.build(dict(base_cfg.model.backbone, init_cfg=None))
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    # What the README says beside the block: the host's class, pretrained=None in mmseg, and where weights come from.
    model = MODEL.replace("'mmpretrain.ResNet'", repr(host))
    model = model.replace(
        "_delete_=True, type='mmmaskany.MaskAny',", "_delete_=True, type='mmmaskany.MaskAny', init_cfg=START,"
    )
    if scope == 'mmseg':
        model = model.replace('dict(backbone=', 'dict(pretrained=None, backbone=')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    (tmp_path / 'own.py').write_text(f'_base_ = {base!r}\n{IMPORTS}' + model.replace('START', repr(start)))
    whole = MODELS.build(Config.fromfile(tmp_path / 'own.py').model)
    whole.init_weights()
    backbone = whole.backbone
    for network in (backbone, plain):
        network.eval()  # which returns nothing for some of them
    assert type(backbone).__name__.startswith('MaskAny')
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = backbone(images), plain(images)
    assert len(found) == levels and torch.equal(found[-1], expected[-1]) and found[-1].shape[-1] == 64 // stride
