# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import BatchSampler, DataLoader

from mmmaskany.registry import HOOKS

from .sampler import SeededSampler
from .seeds import derive_seed, seed_all


@HOOKS.register_module()
class SeedHook(Hook):
    """Let what is drawn in a training step follow from (seed, rank, iteration) alone.

    Before every step it seeds ``random``, NumPy (mmpretrain's mixup and cutmix) and PyTorch on all devices (masks,
    dropout). So any step can be replayed, ranks differ, and a resumed run draws what the undisturbed one would have
    drawn. A run that is resumed in the middle of its data, as iteration-based ones always are, starts reading there
    instead of loading again what was already trained on.
    """

    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Go on where the checkpoint was written.

        Args:
            runner (Runner): The runner of the training process.
        """
        loop, sampler = runner.train_loop, runner.train_dataloader.sampler
        length = len(runner.train_dataloader)
        same_length = runner.message_hub.runtime_info.get('batches_per_epoch') == length
        runner.message_hub.update_info('batches_per_epoch', length)
        # Other batch samplers group samples: how many they took is not known without reading them.
        if not isinstance(sampler, SeededSampler) or type(runner.train_dataloader.batch_sampler) is not BatchSampler:
            return
        batches = loop.iter - loop.epoch * length
        if type(loop) is EpochBasedTrainLoop and same_length and batches > 0:
            sampler.start_at(batches * runner.train_dataloader.batch_size)
        elif type(loop) is IterBasedTrainLoop and loop.iter > 0:
            loop.dataloader_iterator = _Continued(runner.train_dataloader, sampler, loop.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Seed everything that the step may draw from.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict | tuple | list, optional): The batch. Defaults to None.
        """
        seed_all(derive_seed('step', runner.seed, runner.rank, runner.iter))


class _Continued(_InfiniteDataloaderIterator):
    """The batches of an iteration-based loop from some iteration on.

    MMEngine's loop asks for all batches that a resumed run has seen, to throw them away; here they cost nothing.

    Args:
        dataloader (DataLoader): The loop's data loader.
        sampler (SeededSampler): Its sampler.
        iterations (int): Number of iterations that are done.
    """

    def __init__(self, dataloader: DataLoader, sampler: SeededSampler, iterations: int) -> None:
        self._dataloader, self._sampler, self._iterator = dataloader, sampler, None
        self._epoch, self._batches = (0, iterations) if sampler.endless else divmod(iterations, len(dataloader))
        # MMEngine's loop asks for what is done, batch by batch; that of onedl-mmengine calls skip_iter, or nothing.
        self._done = 0 if hasattr(_InfiniteDataloaderIterator, 'skip_iter') else iterations

    def skip_iter(self, num_iters: int) -> None:
        """Skip nothing, as the sampler starts behind what is done.

        Args:
            num_iters (int): Number of iterations that are done.
        """

    def __next__(self):
        if self._done:
            self._done -= 1
            return None
        if self._iterator is None:  # only now, as a hook has set the sampler's epoch back in the meantime
            self._sampler.set_epoch(self._epoch)
            self._sampler.start_at(self._batches * self._dataloader.batch_size)
            self._iterator = iter(self._dataloader)
        return super().__next__()
