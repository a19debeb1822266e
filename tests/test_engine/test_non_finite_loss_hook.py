# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import uuid
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import nn

from mmmaskany.engine import NonFiniteLossHook, launch

NAN, INF = float('nan'), float('inf')


@pytest.fixture
def iterate(tmp_path):
    """Let a hook see the losses of one iteration after the other."""

    def run(hook, *losses, scaled=False):
        wrapper = SimpleNamespace(loss_scaler=None) if scaled else SimpleNamespace()
        hub = MessageHub.get_instance(uuid.uuid4().hex)
        runner = SimpleNamespace(message_hub=hub, optim_wrapper=wrapper, work_dir=tmp_path, iter=0)
        for outputs in losses:
            for name, value in outputs.items():
                hub.update_scalar(f'train/{name}', value)
            hook.after_train_iter(runner, 0, outputs=outputs)
            runner.iter += 1

    return run


def test_the_offending_loss_and_iteration_are_named(iterate):
    good = dict(loss=torch.tensor(3.0), loss_cls=torch.tensor(1.0), loss_bbox=2.0, acc=NAN)
    iterate(NonFiniteLossHook(), good, good)
    with pytest.raises(
        FloatingPointError, match=r'iteration 3 gave loss_bbox = inf\. No checkpoint was written yet; a'
    ):
        iterate(NonFiniteLossHook(), good, good, dict(good, loss_bbox=INF, loss=INF))
    with pytest.raises(FloatingPointError, match=r'iteration 1 gave loss = nan\.'):
        iterate(NonFiniteLossHook(), dict(loss=torch.tensor(NAN)))


def test_steps_that_loss_scaling_skips_are_borne_for_a_while(iterate):
    bad, good = dict(loss=NAN), dict(loss=1.0)
    iterate(NonFiniteLossHook(patience=2), bad, bad, good, bad, bad, scaled=True)
    with pytest.raises(FloatingPointError, match=r'iteration 4 gave loss = nan'):
        iterate(NonFiniteLossHook(patience=2), good, bad, bad, bad, scaled=True)
    with pytest.raises(FloatingPointError, match=r'iteration 2 gave loss = nan'):
        iterate(NonFiniteLossHook(patience=2), good, bad)


def test_what_is_saved_is_finite(tmp_path):
    model = nn.BatchNorm1d(3)
    model.register_buffer('mask', torch.tensor([0, -INF]))
    runner = SimpleNamespace(model=model, work_dir=tmp_path)

    def save(**tensors):
        state = {**model.state_dict(), **{name: torch.tensor(value) for name, value in tensors.items()}}
        ema = {f'module.{name}': tensor for name, tensor in state.items()}
        for sections in (dict(state_dict=state), dict(state_dict=model.state_dict(), ema_state_dict=ema)):
            NonFiniteLossHook().before_save_checkpoint(runner, dict(meta=dict(iter=7), **sections))

    save()
    for name, value in (('weight', [1, INF, 2]), ('bias', [0, 0, NAN]), ('running_var', [NAN, 1, 1.0])):
        with pytest.raises(
            FloatingPointError, match=rf'but 1 of 3 numbers of {name} are not, after iteration 7\. No ch'
        ):
            save(**{name: value})


@pytest.mark.parametrize('patience', [-1, 2.5])
def test_patience_is_checked(patience):
    with pytest.raises(ValueError, match=f'patience must be a whole number .* but got {patience}'):
        NonFiniteLossHook(patience)


def test_every_training_has_it_unless_told_otherwise():
    def hooks(**given):
        cfg = Config(dict(default_scope='mmdet', optim_wrapper=dict(), work_dir='.', default_hooks=given))
        launch.prepare_training(cfg)
        return cfg.default_hooks

    assert hooks().non_finite == dict(type='mmmaskany.NonFiniteLossHook')
    assert hooks(non_finite=dict(type='Other')).non_finite == dict(type='Other')
    assert 'non_finite' not in hooks(non_finite=None)
