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
    ('base', 'host', 'levels'),
    [
        ('mmpretrain::resnet/resnet50_8xb32_in1k.py', 'mmpretrain.ResNet', 1),
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmdet.ResNet', 4),
        ('mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', 'mmseg.ResNetV1c', 4),
    ],
)
def test_the_block_fits_a_config_of_every_library(base, host, levels, tmp_path):
    scope = base.partition('::')[0]
    importlib.import_module(f'{pytest.importorskip(scope).__name__}.models')
    assert host == 'mmpretrain.ResNet' or f'`{host}`' in README
    plain = MODELS.build(dict(type=host, depth=50))
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
    cfg = Config.fromfile(tmp_path / 'own.py')
    init_default_scope(cfg.default_scope)
    whole = MODELS.build(cfg.model)
    whole.init_weights()
    backbone = whole.backbone
    for network in (backbone, plain):
        network.eval()  # which returns nothing for some of them
    assert type(backbone).__name__.startswith('MaskAny')
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = backbone(images), plain(images)
    assert len(found) == levels and torch.equal(found[-1], expected[-1])
