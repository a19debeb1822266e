# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import math
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmmaskany.registry import HOOKS

_WAY_OUT = (
    'a resumed run would come to the same point: lower optim_wrapper.optimizer.lr, or clip gradients with '
    'optim_wrapper.clip_grad=dict(max_norm=1.0)'
)


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """End a training whose loss is NaN or infinite, before a checkpoint of it replaces a good one.

    The losses are those that MMEngine has put into its log already, once in every iteration: looking at them costs no
    synchronisation with the device. Weights are looked at when they are about to be saved, on the CPU: they may be NaN
    while the loss, of the iteration before, was not.

    Args:
        patience (int): How many iterations in a row may have such a loss where float16's loss scaling skips the step
            and nothing is harmed (``AmpOptimWrapper``). Elsewhere the first one ends the training. Defaults to 20.

    Raises:
        ValueError: If ``patience`` is negative or no whole number.
        FloatingPointError: In the training, if a loss or what is going to be saved is not finite. The message names the
            iteration, the losses and the last good checkpoint.
    """

    priority = 'LOW'  # after the log was written, before a checkpoint is

    def __init__(self, patience: int = 20) -> None:
        if not isinstance(patience, int) or patience < 0:
            raise ValueError(f'patience must be a whole number of iterations, at least 0, but got {patience!r}')
        self.patience = patience
        self._in_a_row = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Look at the losses of an iteration.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch. Defaults to None.
            outputs (dict, optional): What the model returned. Defaults to None.
        """
        logged = runner.message_hub.log_scalars
        values = {name: logged[f'train/{name}'].current() for name in outputs or () if f'train/{name}' in logged}
        bad = {name: value for name, value in values.items() if 'loss' in name and not math.isfinite(value)}
        self._in_a_row = self._in_a_row + 1 if bad else 0
        scaled = hasattr(runner.optim_wrapper, 'loss_scaler')
        if self._in_a_row > (self.patience if scaled else 0):
            # The sum of all losses says nothing of its own.
            parts = {name: value for name, value in bad.items() if name != 'loss'} or bad
            losses = ', '.join(f'{name} = {value}' for name, value in parts.items())
            raise FloatingPointError(
                f'losses must be finite, but iteration {runner.iter + 1} gave {losses}. '
                f'{_last_good(runner)}; {_WAY_OUT}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at what is going to be saved.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The checkpoint, on the CPU.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        parameters = {name for name, _ in model.named_parameters()}
        for section in ('state_dict', 'ema_state_dict'):
            for name, tensor in checkpoint.get(section, {}).items():
                if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                    continue
                name = name.removeprefix('module.')  # as EMAHook has it
                # A buffer may well be infinite, such as a mask of attention.
                bad = ~torch.isfinite(tensor) if name in parameters else torch.isnan(tensor)
                if bad.any():
                    raise FloatingPointError(
                        f'weights must be finite to be saved, but {int(bad.sum())} of {bad.numel()} numbers of {name} '
                        f'are not, after iteration {checkpoint["meta"]["iter"]}. {_last_good(runner)}; {_WAY_OUT}'
                    )


def _last_good(runner: Runner) -> str:
    pointer = Path(runner.work_dir, 'last_checkpoint')  # written after the checkpoint that it names
    return (
        f'The last good checkpoint is {pointer.read_text()}' if pointer.is_file() else 'No checkpoint was written yet'
    )
