# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class LastValidationHook(Hook):
    """Validate a resumed run that has nothing left to train.

    The last checkpoint is written before the last validation, so a run that is killed in between would end without
    the result of its last weights, and its log with that of earlier ones.
    """

    def before_train(self, runner: Runner) -> None:
        """Remember where this start begins.

        Args:
            runner (Runner): The runner of the training process.
        """
        self._start = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Validate where no step was trained.

        Args:
            runner (Runner): The runner of the training process.
        """
        if 0 < self._start == runner.iter and runner.val_loop is not None:
            runner.val_loop.run()
