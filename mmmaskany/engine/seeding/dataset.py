# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from collections.abc import Iterator
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS

from mmmaskany.datasets.label_map import check_label_map
from mmmaskany.datasets.loaded_size import check_sizes_when_loaded
from mmmaskany.registry import DATASETS

from .sampler import SeededIndex
from .seeds import seed_cpu

_OWN = ('dataset', 'label_ids', 'generators')


@DATASETS.register_module()
class SeededDataset:
    """Any dataset, whose random transforms follow from (seed, epoch, sample index) alone.

    It seeds ``random``, NumPy, PyTorch, and transforms that draw from a generator of their own, as Albumentations'
    do, before it prepares a sample whose index is a :class:`SeededIndex`, whichever worker does it, and leaves plain
    indices unseeded. A sample that cannot be prepared, whose label map holds an id of no class, or whose image is of
    another size than it was annotated with, is an error that names its file. In everything else it is the wrapped
    dataset: attributes are read from and set on that one.

    Args:
        dataset (dict | Dataset): Config of the wrapped dataset, or the dataset itself.
    """

    def __init__(self, dataset) -> None:
        self.dataset = dataset
        if isinstance(dataset, dict):
            self.dataset = MMENGINE_DATASETS.build(dataset)
            check_sizes_when_loaded(self.dataset)
        metainfo = getattr(self.dataset, 'metainfo', None) or {}
        # mmseg's sets say how their label maps count: (number of classes, ignored id, whether 0 is unlabelled)
        self.label_ids = None
        if metainfo.get('reduce_zero_label') is not None and metainfo.get('classes'):
            ignored = getattr(self.dataset, 'ignore_index', 255)
            self.label_ids = len(metainfo['classes']), ignored, metainfo['reduce_zero_label']
        self.generators = list(_own_generators(self.dataset))

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:  # not there yet while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.dataset, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed = index.derive_seed()
            seed_cpu(seed)
            for generator in self.generators:
                generator.set_random_seed(seed % 2**32)
        try:
            data = self.dataset[int(index)]
        except Exception as error:
            name = _file_in_hand(error)
            if name is None:
                raise
            raise ValueError(
                f'samples must load and transform, but {name} gave {type(error).__name__}: {error}'
            ) from error
        sample = data.get('data_samples') if self.label_ids and isinstance(data, dict) else None
        if hasattr(sample, 'gt_sem_seg'):
            check_label_map(sample.gt_sem_seg.data.numpy(), *self.label_ids, sample.get('seg_map_path', 'a label map'))
        return data


def _own_generators(part: Any) -> Iterator[Any]:
    """Yield what draws from a generator of its own below a dataset: what has a ``set_random_seed``."""
    if hasattr(part, 'set_random_seed'):
        yield part  # it seeds what is below it
        return
    for name in ('dataset', 'datasets', 'pipeline', 'transforms', 'aug'):
        below = vars(part).get(name) if hasattr(part, '__dict__') else None
        for child in below if isinstance(below, (list, tuple)) else [below]:
            if child is not None and not isinstance(child, (dict, str)):
                yield from _own_generators(child)


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
