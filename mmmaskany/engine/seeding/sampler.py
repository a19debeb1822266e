# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from torch.utils.data import Sampler

from mmmaskany.registry import DATA_SAMPLERS

from .seeds import derive_seed


class SeededIndex(int):
    """A sample's index that knows what the sample's random numbers follow from.

    It is an ordinary ``int`` for every dataset, and :class:`mmmaskany.engine.SeededDataset` seeds from it.

    Args:
        index (int): Which sample.
        seed (int): The run's seed.
        epoch (int): Which pass over the data. Defaults to 0.
        repeat (int): How often the sample was handed out before in this pass. Defaults to 0.
    """

    def __new__(cls, index: int, seed: int, epoch: int = 0, repeat: int = 0):
        self = super().__new__(cls, index)
        self.seed, self.epoch, self.repeat = seed, epoch, repeat
        return self

    def __getnewargs__(self) -> tuple[int, int, int, int]:
        return int(self), self.seed, self.epoch, self.repeat

    def derive_seed(self) -> int:
        """Derive the seed of this sample in this pass: int in [0, 2**63)."""
        return derive_seed('sample', self.seed, self.epoch, int(self), self.repeat)


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """Any sampler of MMEngine or another library, whose indices also carry seed and epoch.

    The order of the samples stays that of the wrapped sampler. An endless sampler counts its passes by itself, over
    all ranks.

    Args:
        sampler (dict): Config of the wrapped sampler, which yields integers.
        dataset (Sized): The dataset; given by the Runner.
        seed (int): The run's seed; given by the Runner.
    """

    def __init__(self, sampler: dict, dataset, seed: int) -> None:
        if seed is None:
            raise ValueError('seed must be an int, but got None: use `randomness` without `diff_rank_seed`')
        self.dataset, self.seed = dataset, seed
        self.epoch = self.start = 0
        self._cfg = sampler
        self.rank, self.world_size = get_dist_info()
        self.sampler = self._build()

    def _build(self) -> Sampler:
        return MMENGINE_DATA_SAMPLERS.build(self._cfg, default_args=dict(dataset=self.dataset, seed=self.seed))

    @property
    def endless(self) -> bool:
        """bool: Whether one iteration never ends."""
        return isinstance(self.sampler, InfiniteSampler)

    def set_epoch(self, epoch: int) -> None:
        """Name the pass that the next iteration is.

        Args:
            epoch (int): Number of passes before it.
        """
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def start_at(self, start: int) -> None:
        """Let the next iteration begin in the middle, as a resumed run needs it.

        Args:
            start (int): Number of this rank's samples to leave out.
        """
        self.start = start
        self.sampler = self._build()  # an endless sampler goes on where its last iteration was
        self.set_epoch(self.epoch)

    def __iter__(self) -> Iterator[SeededIndex]:
        """Yield the wrapped sampler's indices with seed, epoch and repeat."""
        start, self.start = self.start, 0
        size, repeats = len(self.dataset), getattr(self.sampler, 'num_repeats', 1)
        lap, seen = 0, bytearray(size)
        for count, index in islice(enumerate(self.sampler), start, None):
            position = self.rank + count * self.world_size  # among the samples of all ranks
            if self.endless and position // size != lap:
                lap, seen = position // size, bytearray(size)
            # Repeated augmentation hands a sample's copies to consecutive positions, thus to different ranks.
            repeat = position % repeats if repeats > 1 else seen[index]
            seen[index] = min(seen[index] + 1, 255)
            yield SeededIndex(index, seed=self.seed, epoch=self.epoch + lap, repeat=repeat)

    def __len__(self) -> int:
        """Return the length of the wrapped sampler."""
        return len(self.sampler)
