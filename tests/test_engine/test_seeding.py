# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.registry import DATASETS
from torch import distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmmaskany.engine.seeding.dataset import SeededDataset
from mmmaskany.engine.seeding.sampler import SeededIndex, SeededSampler


class Draws:
    """A dataset whose samples are what the three generators give."""

    metainfo = dict(classes=('a',))

    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def sampler(kind='DefaultSampler', size=10, rank=0, world_size=1, seed=3):
    if world_size > 1:
        dist.init_process_group('fake', rank=rank, world_size=world_size, store=FakeStore())
    try:
        return SeededSampler(dict(type=kind), Draws(size), seed)
    finally:
        if world_size > 1:
            dist.destroy_process_group()


def take(iterable, count):
    return [item for _, item in zip(range(count), iterable, strict=False)]


def test_sample_follows_from_seed_epoch_and_index():
    dataset = SeededDataset(Draws())
    first = dataset[SeededIndex(4, seed=1, epoch=2)]
    dataset[SeededIndex(5, seed=1, epoch=2)]
    assert dataset[SeededIndex(4, seed=1, epoch=2)] == first
    others = [SeededIndex(4, seed=2, epoch=2), SeededIndex(4, seed=1, epoch=3), SeededIndex(5, seed=1, epoch=2)]
    others.append(SeededIndex(4, seed=1, epoch=2, repeat=1))
    for index in others:
        assert all(a != b for a, b in zip(dataset[index][1:], first[1:], strict=True))


def test_plain_index_is_not_seeded():
    dataset = SeededDataset(Draws())
    assert dataset[4][1:] != dataset[4][1:]


def test_index_is_an_int_and_survives_workers():
    index = pickle.loads(pickle.dumps(SeededIndex(7, seed=1, epoch=2, repeat=3)))
    assert index == 7
    assert list(range(10))[index] == 7
    assert (index.seed, index.epoch, index.repeat) == (1, 2, 3)


def test_wrapper_is_the_dataset_in_everything_else():
    dataset = SeededDataset(Draws())
    dataset.size = 5
    assert len(dataset) == 5 == dataset.dataset.size
    assert dataset.metainfo == dict(classes=('a',))
    assert len(pickle.loads(pickle.dumps(copy.deepcopy(dataset)))) == 5
    with pytest.raises(AttributeError, match='nothing'):
        _ = dataset.nothing


def test_order_is_the_wrapped_samplers():
    made = sampler()
    made.set_epoch(4)
    assert list(made) == list(made.sampler)
    assert {(index.seed, index.epoch, index.repeat) for index in made} == {(3, 4, 0)}
    assert len(made) == 10


def test_ranks_share_an_epoch_without_sharing_samples():
    indices = [list(sampler(rank=rank, world_size=2)) for rank in (0, 1)]
    assert sorted(indices[0] + indices[1]) == list(range(10))


def test_endless_sampler_counts_its_passes_over_all_ranks():
    drawn = [take(sampler('InfiniteSampler', size=5, rank=rank, world_size=2), 10) for rank in (0, 1)]
    together = [index for pair in zip(*drawn, strict=True) for index in pair]
    assert [index.epoch for index in together] == [position // 5 for position in range(20)]
    for epoch in range(4):
        assert sorted(index for index in together if index.epoch == epoch) == list(range(5))
    assert len({index.derive_seed() for index in together}) == 20


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_repeated_augmentation_draws_anew(world_size):
    ranks = [
        take(sampler('mmpretrain.RepeatAugSampler', rank=rank, world_size=world_size), 10) for rank in range(world_size)
    ]
    for made in ranks:
        assert {index.repeat for index in made} <= {0, 1, 2}
    seeds = [index.derive_seed() for made in ranks for index in made]
    copies = [(int(index), index.repeat) for made in ranks for index in made]
    assert len(set(seeds)) == len(set(copies))
    if world_size == 1:
        assert len(set(copies)) == 10


def test_start_in_the_middle():
    for kind, count in (('DefaultSampler', 10), ('InfiniteSampler', 23)):
        whole = take(sampler(kind), count)
        made = sampler(kind)
        take(made, 4)  # an endless sampler does not begin anew by itself
        made.start_at(6)
        rest = take(made, count - 6)
        assert [(int(i), i.epoch, i.repeat) for i in rest] == [(int(i), i.epoch, i.repeat) for i in whole[6:]]
    assert isinstance(made.sampler, InfiniteSampler)


def test_seed_is_needed():
    with pytest.raises(ValueError, match='seed must be an int, but got None'):
        SeededSampler(dict(type='DefaultSampler'), Draws(), None)


def test_corrupt_image_is_named(image_folder, tmp_path):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmpretrain.PackInputs')]
    for content in (b'', b'not an image', (image_folder / 'val' / 'a' / '00.png').read_bytes()[:200]):
        folder = tmp_path / f'{len(content)}' / 'a'
        folder.mkdir(parents=True)
        (folder / 'broken.png').write_bytes(content)
        cfg = dict(type='mmpretrain.CustomDataset', data_root=str(folder.parent), pipeline=pipeline)
        dataset = DATASETS.build(dict(type='mmmaskany.SeededDataset', dataset=cfg))
        with pytest.raises(ValueError, match=rf'must load and transform, but {folder}/broken.png gave ') as caught:
            dataset[0]
        assert caught.value.__cause__ is not None


class OwnGenerator:
    """Draws as Albumentations' compositions do: from a generator of its own, which can be seeded."""

    def __init__(self):
        self.set_random_seed(None)

    def set_random_seed(self, seed):
        self.random_generator = np.random.default_rng(seed)


class Step:
    """A transform of a library that holds one."""

    def __init__(self):
        self.aug = OwnGenerator()

    def __call__(self, results):
        return dict(results, drawn=float(self.aug.random_generator.random()))


def augmented(step):
    """A data set of two samples, with a step in a wrapped pipeline."""
    files = dict(type='mmpretrain.CustomDataset', lazy_init=True, data_root='.', serialize_data=False)
    dataset = DATASETS.build(dict(files, pipeline=[]))
    dataset.data_list, dataset._fully_initialized = [dict(img_path='a'), dict(img_path='b')], True
    dataset.pipeline.transforms.append(step)
    return SeededDataset(dataset)


def test_transforms_with_generators_of_their_own_are_seeded():
    pytest.importorskip('mmpretrain.datasets')
    draws = [augmented(Step())[SeededIndex(1, seed=1, epoch=2)]['drawn'] for _ in range(2)]
    assert draws[0] == draws[1]
    assert augmented(Step())[SeededIndex(1, seed=1, epoch=3)]['drawn'] != draws[0]
    copied = pickle.loads(pickle.dumps(augmented(Step())))
    assert copied[SeededIndex(1, seed=1, epoch=2)]['drawn'] == draws[0]


def test_albumentations():
    pytest.importorskip('albumentations')
    from mmpretrain.datasets.transforms import Albumentations

    images = []
    for _ in range(2):
        step = Albumentations([dict(type='RandomBrightnessContrast', p=1.0), dict(type='HorizontalFlip', p=0.5)])
        dataset = augmented(step)
        dataset.pipeline.transforms.insert(0, lambda results: dict(results, img=np.full((8, 8, 3), 99, np.uint8)))
        images.append([dataset[SeededIndex(1, seed=1, epoch=epoch)]['img'].mean() for epoch in range(4)])
    assert images[0] == images[1] and len(set(images[0])) > 1
