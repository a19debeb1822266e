# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Runs that can be replayed: any step again, with any number of workers, after any kill.

MMEngine saves no random state, and no saved state could make a resumed run exact: workers live longer than an epoch,
other ranks save nothing, validation draws numbers too. So nothing is saved. What a step draws follows from (seed,
rank, iteration), what a worker draws for a sample from (seed, epoch, sample index).
"""

from mmengine.runner import Runner

from ..hooks.last_validation_hook import LastValidationHook
from .hook import SeedHook

_DATASET, _SAMPLER = 'mmmaskany.SeededDataset', 'mmmaskany.SeededSampler'


def _name_files(dataloader: dict | None) -> dict | None:
    """Wrap the dataset of a data loader's config, unless it is wrapped already."""
    if not isinstance(dataloader, dict) or dataloader['dataset']['type'] == _DATASET:
        return dataloader
    return dict(dataloader, dataset=dict(type=_DATASET, dataset=dataloader['dataset']))


def make_replayable(runner: Runner) -> Runner:
    """Make the training of a Runner that was just built follow from its seed alone.

    The training data gets a :class:`~mmmaskany.engine.SeededSampler` and a
    :class:`~mmmaskany.engine.SeededDataset`, the Runner a :class:`~mmmaskany.engine.SeedHook` and a
    :class:`~mmmaskany.engine.LastValidationHook`; validation and test data only the errors that name a file. Its
    config, which is written to the work dir, stays as it was.

    Args:
        runner (Runner): A Runner whose data loaders are still configs.

    Returns:
        Runner: The same Runner.
    """
    train = _name_files(runner._train_dataloader)
    if isinstance(train, dict) and train['sampler']['type'] != _SAMPLER:
        train = dict(train, sampler=dict(type=_SAMPLER, sampler=train['sampler']))
    runner._train_dataloader = train
    runner._val_dataloader = _name_files(runner._val_dataloader)
    runner._test_dataloader = _name_files(runner._test_dataloader)
    for kind in (SeedHook, LastValidationHook):
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
    return runner
