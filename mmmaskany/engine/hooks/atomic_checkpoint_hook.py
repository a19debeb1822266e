# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from collections import deque

import torch
from mmengine import dist
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mmmaskany.checkpoints.atomic import AtomicBackend, clear_partials, reserve
from mmmaskany.checkpoints.resume import find_resume_point, write_pointer
from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook for runs that may be killed at any moment.

    Differences from the base class:

    - A checkpoint gets its name when it is complete and on the disk, and only then ``last_checkpoint`` names it.
    - What is outdated is deleted last: the oldest checkpoint, and the previous best one.
    - At least two checkpoints are kept.
    - Resuming falls back to the newest checkpoint that loads, and says so.
    - Gradients that are still accumulating are saved and resumed.
    - A folder that cannot take a checkpoint is an error before the training starts.

    Args:
        interval (int): Epochs or iterations between checkpoints, -1 for never. Defaults to -1.
        by_epoch (bool): Whether ``interval`` counts epochs. Defaults to True.
        max_keep_ckpts (int): Number of checkpoints to keep, -1 for all; 1 is taken as 2. Defaults to -1.
        **kwargs: As for MMEngine's ``CheckpointHook``, but for the deprecated ``file_client_args``. With
            ``backend_args`` a single file is as safe as that backend makes it.
    """

    def __init__(self, interval: int = -1, by_epoch: bool = True, max_keep_ckpts: int = -1, **kwargs) -> None:
        if kwargs.get('file_client_args') is not None:
            raise ValueError(f'`backend_args` must be used, but got file_client_args={kwargs["file_client_args"]}')
        max_keep_ckpts = 2 if max_keep_ckpts == 1 else max_keep_ckpts
        super().__init__(interval, by_epoch, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self._gradients = {}

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint that an automatic resume goes on from.

        Args:
            runner (Runner): The runner of the training process.
        """
        if runner._resume and runner._load_from is None:
            point = find_resume_point(runner.work_dir)
            if point is not None:
                runner._load_from = point.path
                if point.note:
                    runner.logger.warning(point.note)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over gradients that were still accumulating.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): What was loaded.
        """
        if runner._resume:
            self._gradients = checkpoint.get('gradients', {})

    def before_train(self, runner: Runner) -> None:
        """See that the folder can take a checkpoint, clear what a killed run left there, resume gradients.

        Args:
            runner (Runner): The runner of the training process.
        """
        self.out_dir = str(self.out_dir or runner.work_dir)
        if self.backend_args is None and '://' not in self.out_dir:
            self.backend_args = dict(backend='mmmaskany_atomic')
        super().before_train(runner)

        model = _unwrap(runner.model)
        if isinstance(self.file_backend, AtomicBackend) and dist.is_main_process():
            clear_partials(self.out_dir)
            reserve(self.out_dir, sum(tensor.nbytes for tensor in model.state_dict().values()))

        if self._gradients:
            parameters = dict(model.named_parameters())
            for name, gradient in self._gradients.items():
                parameters[name].grad = gradient.to(parameters[name])
            runner.logger.info(f'Resumed the accumulated gradients of {len(self._gradients)} parameters.')
            self._gradients = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add gradients that are still accumulating.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): What is going to be saved.
        """
        if 'optimizer' in checkpoint and _accumulates(runner):
            named = _unwrap(runner.model).named_parameters()
            gradients = {name: parameter.grad.cpu() for name, parameter in named if parameter.grad is not None}
            if gradients:
                checkpoint['gradients'] = gradients

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if _accumulates(runner) and dist.get_world_size() > 1:
            _average_gradients(runner.model)

        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [*(known for known in self.keep_ckpt_ids if known != step), step]
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            # With the outdated: if this run is killed before they are deleted, the one that resumes it deletes them.
            runner.message_hub.update_info('keep_ckpt_ids', kept)

        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if dist.is_main_process():
            write_pointer(runner.work_dir, self.last_ckpt)
            for old in outdated:
                self._delete(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # The base class deletes the best checkpoint that it knows of before it writes a better one: it knows of none.
        known, self._best = self._best, dict.fromkeys(self._best)
        super()._save_best_checkpoint(runner, metrics)
        better, self._best = self._best, {name: self._best[name] or path for name, path in known.items()}
        for name, path in known.items():
            if path and better[name] not in (None, path) and dist.is_main_process():
                self._delete(path)
                runner.logger.info(f'The previous best checkpoint {path} is removed')

    @property
    def _best(self) -> dict[str, str | None]:
        """dict: The best checkpoint of every metric that ``save_best`` names."""
        if len(self.save_best) == 1:
            return {'': self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    @_best.setter
    def _best(self, paths: dict[str, str | None]) -> None:
        if len(self.save_best) == 1:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = dict(paths)

    def _delete(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed writes folders
            self.file_backend.rmtree(path)


def _unwrap(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _accumulates(runner: Runner) -> bool:
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, OptimWrapper) and wrapper._accumulative_counts > 1


def _average_gradients(model: nn.Module) -> None:
    """Give every rank the mean of what all have accumulated; their sum, and so the next step, stays what it was.

    Only the main process saves, so this is what a resumed run can give to all of them.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    used = torch.tensor([parameter.grad is not None for parameter in parameters], device=parameters[0].device).int()
    dist.all_reduce(used)
    for parameter, ranks in zip(parameters, used.tolist(), strict=True):
        if ranks:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad, op='mean')
