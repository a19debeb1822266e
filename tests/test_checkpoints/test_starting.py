# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a training starts from: which of several networks in a file, and with which images it was trained."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.checkpoints.protection import read_checkpoint

STEM = 'backbone.conv1.weight'
PIXELS = 'data_preprocessor = dict(mean=[{0}, {0}, {0}], std=[{0}, {0}, {0}], to_rgb={1})'


@pytest.fixture
def file(tiny_config, tmp_path):
    """Write a plain classifier's checkpoint with averaged weights and others, and what it says of its images."""
    cfg = Config.fromfile(tiny_config())
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    state = MODELS.build(dict(cfg.model, backbone=cfg.model.backbone.backbone)).state_dict()

    def write(mean=127.5, to_rgb=True):
        averaged = {name: torch.full_like(each, 0.5) if name == STEM else each for name, each in state.items()}
        meta = dict(cfg=PIXELS.format(mean, to_rgb))
        torch.save(dict(model=state, model_ema=averaged, meta=meta), tmp_path / 'start.pth')
        return str(tmp_path / 'start.pth'), state[STEM]

    return write


@pytest.fixture
def start(tiny_config, tool, tmp_path):
    """Train one epoch in which nothing is learned; return the stem's weights and the log."""

    def run(name, **changes):
        loader = dict(num_workers=0, persistent_workers=False)
        still = dict(
            train_dataloader=loader,
            val_dataloader=None,
            val_evaluator=None,
            val_cfg=None,
            optim_wrapper=dict(optimizer=dict(lr=0.0)),
            train_cfg=dict(max_epochs=1),
            param_scheduler=[],
            custom_hooks=[],
        )
        folder = tmp_path / name
        tool('train')([tiny_config(name, **still, **changes), '--work-dir', str(folder)])
        (log,) = folder.glob('*/*.log')
        return read_checkpoint(folder / 'epoch_1.pth')['state_dict'][STEM], log.read_text()

    return run


def test_load_from_container_names_the_network(file, start):
    path, trained = file()
    stem, log = start('first', load_from=path)
    assert (stem == 0.5).all() and "'model_ema' of" in log and "it also has 'model'" in log
    assert 'wants images otherwise' not in log
    stem, _ = start('named', load_from=path, load_from_container='model')
    assert torch.equal(stem, trained)
    with pytest.raises(ValueError, match=r"container must be one of 'model', 'model_ema'.* but got 'teacher'"):
        start('wrong', load_from=path, load_from_container='teacher')


def test_a_config_that_normalises_otherwise_than_its_weights_want_is_warned_of(file, start):
    path, _ = file(mean=100.0, to_rgb=False)
    wanted = (
        'wants images otherwise than data_preprocessor makes them, so that its features are not what they were: RGB '
        'channels instead of BGR, mean [127.5, 127.5, 127.5] instead of [100.0, 100.0, 100.0], std'
    )
    assert wanted in start('load_from', load_from=path)[1]
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.', container='model_ema')
    stem, log = start('init_cfg', model=dict(backbone=dict(init_cfg=init_cfg)))
    assert wanted in log and (stem == 0.5).all()
