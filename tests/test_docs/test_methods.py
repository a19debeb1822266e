# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The pages of docs/methods: each has its parts, what it links to is there, and its configs train."""

import copy
import re

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmpretrain.structures import DataSample
from shipped import ROOT, load

from mmmaskany.models.classifiers import MaskSubClassifier

DOCS = ROOT / 'docs/methods'
PAGES = [page for page in sorted(DOCS.glob('*.md')) if page.stem != 'README']
INDEX = (DOCS / 'README.md').read_text()
PARTS = ['Idea', 'Config', 'Suggested values', 'When it does nothing', 'Cost', 'What was measured here', 'Bad input']
ids = dict(ids=lambda page: page.stem)


def configs(page):
    """Return the complete configs on a page."""
    blocks = re.findall(r'```python\n(_base_ = .+?)```', page.read_text(), re.DOTALL)
    found = []
    for block in blocks:
        exec(block, own := {})
        cfg = copy.deepcopy(load(own['_base_']))
        cfg.merge_from_dict({key: value for key, value in own.items() if not key.startswith('_')})
        found.append(cfg)
    return found


def test_every_method_has_a_page():
    methods = 'maskany masksub cutout gridmask random-cells mae blocks noise schedule maskmix mixmask layer-masking'
    assert {page.stem for page in PAGES} == set(methods.split())


@pytest.mark.parametrize('page', PAGES, **ids)
def test_parts_and_picture(page):
    text = page.read_text()
    assert re.findall(r'^## (.+)$', text, re.MULTILINE) == PARTS
    assert f']({page.name})' in INDEX
    (picture,) = re.findall(rf'\]\((figures/{page.stem}(?:_sheet)?\.png)\)', text)
    assert (DOCS / picture).stat().st_size < 100_000


@pytest.mark.parametrize('page', [*PAGES, DOCS / 'README.md'], **ids)
def test_links_and_configs_exist(page):
    text = page.read_text()
    for link in re.findall(r'\]\((?!http)([^)#]+)', text):
        assert (DOCS / link).exists(), link
    named = re.findall(r'(?<![\w./])(?:configs|tools)/[\w./-]+\.py', text)
    assert all((ROOT / name).is_file() for name in named), named
    assert named or page.stem == 'README'


@pytest.mark.parametrize('page', [page for page in PAGES if page.stem != 'mixmask'], **ids)  # its own tests train
def test_config_of_the_page_trains(page):
    (cfg,) = configs(page)
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    init_default_scope('mmpretrain')
    if page.stem == 'mae':  # too large to train here
        cfg.model.backbone.arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
        encoder = MODELS.build(cfg.model.backbone)
        assert encoder(torch.zeros(2, 3, 224, 224))[0].shape == (2, 50, 16)  # one class token, 49 of 196
        return
    host = cfg.model.backbone.get('backbone', cfg.model.backbone)
    if host.type == 'VisionTransformer':
        host.arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        cfg.model.head.update(num_classes=5, in_channels=16)
    else:
        host.update(stem_channels=8, base_channels=8)
        cfg.model.head.update(num_classes=5, in_channels=64)
    model = MODELS.build(dict(cfg.model, data_preprocessor=dict(cfg.data_preprocessor, num_classes=5))).train()
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(hook)
    images = torch.randint(256, (2, 3, 224, 224), dtype=torch.uint8)
    data = dict(inputs=images, data_samples=[DataSample().set_gt_label(label) for label in (0, 3)])
    seen = []
    model.backbone.register_forward_pre_hook(lambda host, args: seen.append(args[0]))
    torch.manual_seed(0)
    logs = model.train_step(data, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert torch.isfinite(logs['loss'])
    assert ('loss_sub' in logs) == isinstance(model, MaskSubClassifier) == (page.stem in ('masksub', 'layer-masking'))
    if page.stem == 'maskmix':  # every image has pixels of its neighbour, an exact quarter
        mixed, plain = seen[0], model.data_preprocessor(data)['inputs']
        assert ((mixed != plain).any(1).float().mean((1, 2)) - 0.25).abs().max() < 0.01


def test_the_transform_of_simmim_is_its_own_mask():
    block = re.findall(r'```python\n(dict\(type=.+?)```', (DOCS / 'random-cells.md').read_text(), re.DOTALL)
    transform = load('mmpretrain::simmim/simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py')
    (theirs,) = [step for step in transform.train_pipeline if step.type == 'SimMIMMaskGenerator']
    ours = eval(block[0])['pattern']
    assert (ours['ratio'], ours['cell'], ours['base']) == (
        theirs.mask_ratio,
        theirs.mask_patch_size,
        theirs.model_patch_size,
    )
