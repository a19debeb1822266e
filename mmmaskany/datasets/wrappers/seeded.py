# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS

from mmmaskany.datasets.samplers import SeededIndex
from mmmaskany.registry import DATASETS
from mmmaskany.utils.seeding import seed_cpu


@DATASETS.register_module()
class SeededDataset:
    """Any dataset, whose random transforms follow from (seed, epoch, sample index) alone.

    It seeds ``random``, NumPy and PyTorch before it prepares a sample whose index is a :class:`SeededIndex`, whichever
    worker does it, and leaves plain indices unseeded. A sample that cannot be prepared is an error that names its
    file. In everything else it is the wrapped dataset: attributes are read from and set on that one.

    Args:
        dataset (dict | Dataset): Config of the wrapped dataset, or the dataset itself.
    """

    def __init__(self, dataset) -> None:
        self.dataset = MMENGINE_DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # not there yet while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'dataset':
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_cpu(index.derive_seed())
        try:
            return self.dataset[int(index)]
        except Exception as error:
            name = _file_in_hand(error)
            if name is None:
                raise
            raise ValueError(
                f'samples must load and transform, but {name} gave {type(error).__name__}: {error}'
            ) from error


def _file_in_hand(error: Exception) -> str | None:
    """Name the image that was being prepared, from the innermost transform that had one.

    The dataset may have gone on to another sample than it was asked for, or may mix several, so only the call itself
    knows.
    """
    name, trace = None, error.__traceback__
    while trace is not None:
        results = trace.tb_frame.f_locals.get('results')
        if isinstance(results, dict) and results.get('img_path'):
            name = results['img_path']
        trace = trace.tb_next
    return name
