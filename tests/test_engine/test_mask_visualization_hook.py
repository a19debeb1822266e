# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import uuid

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS, VISBACKENDS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import BaseVisBackend
from mmpretrain.structures import DataSample
from torch import nn

from mmmaskany.engine.hooks import MaskVisualizationHook
from mmmaskany.masking import Views
from mmmaskany.models.stems import AddFusion, ConcatFusion, GatedFusion

MIXTURE = dict(
    type='mmmaskany.MixturePattern',
    patterns=[
        dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
        dict(type='mmmaskany.NoisePattern', scale=0.5, color='green', cell=2, base=1),
    ],
    probs=[0.4, 0.3],
)


@VISBACKENDS.register_module()
class KeepingBackend(BaseVisBackend):
    """Keeps what it is given, as TensorBoard's and Weights & Biases' do."""

    kept: dict

    def __init__(self, save_dir=None):
        super().__init__(save_dir)
        KeepingBackend.kept = {}

    def _init_env(self):
        pass

    experiment = None

    def add_image(self, name, image, step=0, **kwargs):
        self.kept[name, step] = image


class Spy(Hook):
    """Sees every step with hooks of its own, and what hooks there are in the model at ordinary times."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.steps, self.ordinary = [], []
        backbone = runner.model.backbone
        if getattr(backbone, 'masking', None) is not None:
            backbone.masking.register_forward_hook(lambda _, args, views: self.keep('views', views))
        if getattr(backbone, 'dual_stem', None) is not None:
            for name in ('visible', 'reused', 'fusion'):
                part = getattr(backbone.dual_stem, name)
                part.register_forward_hook(lambda _, args, out, name=name: self.keep(name, out.detach().clone()))
        self.own = self.hooks(runner.model)

    def hooks(self, model):
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())

    def keep(self, name, value):
        self.steps[-1][name] = value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.steps.append({})
        self.ordinary.append(self.hooks(runner.model) - self.own)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert self.hooks(runner.model) == self.own
        self.steps[-1]['loss'] = float(outputs['loss'])


def build(masking=MIXTURE, pairs=False, **options):
    backbone = dict(
        type='mmmaskany.MaskAny',
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
        masking=masking and dict(pattern=masking),
        **options,
    )
    neck = dict(type='GlobalAveragePooling')
    if options.get('fuse_at') == 'neck':
        neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=32, fusion='gated', neck=neck)
    model = dict(
        type='ImageClassifier',
        data_preprocessor=dict(
            type='mmmaskany.MaskAnyDataPreprocessor' if pairs else 'ClsDataPreprocessor',
            mean=[127.5] * 3,
            std=[127.5] * 3,
            num_classes=2,
        ),
        backbone=backbone,
        neck=neck,
        head=dict(type='LinearClsHead', num_classes=2, in_channels=32, loss=dict(type='CrossEntropyLoss'), topk=(1,)),
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(model)


def samples(pairs):
    generator = torch.Generator().manual_seed(0)
    for index in range(32):
        image, small = (torch.randint(256, (3, s, s), generator=generator, dtype=torch.uint8) for s in (16, 8))
        sample = DataSample().set_gt_label(index % 2)
        if pairs:
            sample.set_metainfo(dict(masked=index % 4 == 0))
        yield dict(inputs=Views(image, small, ()) if pairs else image, data_samples=sample)


def train(folder, model, *hooks, pairs=False):
    """Train four steps of 16 images and return the lines of the log."""
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(
            batch_size=16,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=list(samples(pairs)),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1), checkpoint=None),
        custom_hooks=[dict(type='mmmaskany.SeedHook'), *hooks],
        visualizer=dict(
            type='Visualizer',
            vis_backends=[dict(type='LocalVisBackend'), dict(type='KeepingBackend')],
            name=uuid.uuid4().hex,
        ),
        experiment_name=uuid.uuid4().hex,
        randomness=dict(seed=0),
    )
    runner.train()
    (log,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated'])
def test_pictures_and_scalars_are_what_the_step_did(tmp_path, fusion):
    spy = Spy()
    model = build(fusion=fusion)
    log = train(tmp_path, model, dict(type='mmmaskany.MaskVisualizationHook', interval=3, num_samples=2), spy)
    assert spy.ordinary == [0, 0, spy.ordinary[2], 0] and spy.ordinary[2] > 0

    assert all('masked' not in line for line in log[:2])  # not before the first picture
    line, step = log[2], spy.steps[2]
    assert {key for key in line if key.startswith(('masked', 'norm_', 'fusion_'))} == {
        'masked', 'masked_patch', 'masked_green_noise', 'norm_visible_stem', 'norm_reused_stem', 'fusion_gate'
    }  # fmt: skip
    draw = step['views'].draw
    assert line['masked'] == draw.masked.float().mean().item()
    shares = [line['masked_patch'], line['masked_green_noise']]
    assert shares == [(draw.choice == index).float().mean().item() for index in (0, 1)]
    assert sum(shares) == line['masked'] and min(shares) > 0
    for name in ('visible', 'reused'):
        assert line[f'norm_{name}_stem'] == pytest.approx(step[name].norm(dim=1).mean().item(), rel=1e-5)

    # The gate is that of the step: a line later the log still shows it, for there was no picture since.
    assert log[3]['fusion_gate'] == line['fusion_gate']
    if fusion == 'gated':  # half open at first
        assert line['fusion_gate'] == pytest.approx(0.5, abs=0.05)
    else:
        assert line['fusion_gate'] == pytest.approx(1, abs=0.05)

    # Two samples, masked ones first, in every backend.
    ((name, step_number),) = KeepingBackend.kept
    picture = KeepingBackend.kept[name, step_number]
    assert (name, step_number) == ('masks', 3)
    (file,) = tmp_path.glob('*/vis_data/vis_image/masks_3.png')
    np.testing.assert_array_equal(cv2.imread(str(file))[..., ::-1], picture)
    orange = np.isclose(picture / 255, (0.902, 0.624, 0), atol=0.01).all(-1)
    rows = np.flatnonzero(orange.any(1))
    assert orange.sum() > 1000 and (np.diff(rows) > 1).any()  # in both rows


def test_training_is_the_same_with_and_without(tmp_path):
    losses = []
    for name, hooks in (('with', [MaskVisualizationHook(interval=1)]), ('without', [])):
        spy = Spy()
        train(tmp_path / name, build(), *hooks, spy)
        losses.append([step['loss'] for step in spy.steps])
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert list(KeepingBackend.kept) == []  # nothing is drawn without


def test_masks_of_the_data_pipeline(tmp_path):
    log = train(tmp_path, build(None, pairs=True), MaskVisualizationHook(interval=4), pairs=True)
    assert log[3]['masked'] == 0.25 and 'masked_patch' not in log[3] and 'norm_reused_stem' in log[3]
    assert list(KeepingBackend.kept) == [('masks', 4)]


@pytest.mark.parametrize('fuse_at', ['levels', 'neck'])
def test_late_fusion_and_no_pictures(fuse_at, tmp_path):
    log = train(tmp_path, build(fuse_at=fuse_at, fusion='gated'), MaskVisualizationHook(interval=4, num_samples=0))
    assert log[3]['fusion_gate'] == pytest.approx(0.5, abs=0.1)
    assert 'norm_visible_stem' not in log[3] and 0 < log[3]['masked'] < 1
    assert KeepingBackend.kept == {}


def test_only_the_first_process_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, 'rank', 1)
    spy = Spy()
    log = train(tmp_path, build(), MaskVisualizationHook(interval=1), spy)
    assert spy.ordinary == [0] * 4 and not KeepingBackend.kept and all('masked' not in line for line in log)


def test_what_has_nothing_to_show_is_refused(tmp_path):
    model = build(None)
    model.backbone = nn.Identity()
    with pytest.raises(
        ValueError, match='must have a second stem or mask its images, but ImageClassifier does neither'
    ):
        train(tmp_path, model, MaskVisualizationHook())
    with pytest.raises(ValueError, match='interval must be a whole number of at least 1, but got 0'):
        MaskVisualizationHook(interval=0)
    with pytest.raises(ValueError, match='num_samples must be a whole number of at least 0, but got -1'):
        MaskVisualizationHook(num_samples=-1)


def test_openness_of_the_fusions():
    visible, reused = torch.rand(2, 4, 3, 3), torch.rand(2, 4, 3, 3)
    assert AddFusion(4, scaled=False).openness(visible, reused) == 1
    assert ConcatFusion(8, projected=False).openness(visible, reused) == 1
    for fusion, start in ((AddFusion(4), 1), (ConcatFusion(4), 1), (GatedFusion(4), 0.5)):
        assert fusion.openness(visible, reused).item() == pytest.approx(start, abs=0.02)
        fusion.silence()
        assert fusion.openness(visible, reused) == 0
    fusion = GatedFusion(4)
    fusion.scale.data = torch.tensor([-2.0, 2, 2, 2])
    fusion.bias.data.fill_(20)  # wide open
    assert fusion.openness(visible, reused).item() == pytest.approx(2, abs=1e-3)
