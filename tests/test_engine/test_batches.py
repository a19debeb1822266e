# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Batches that cannot be trained on or evaluated are found before the first step, with the change to make."""

import shutil

import cv2
import numpy as np
import pytest

ONE = dict(num_workers=0, persistent_workers=False)
BN1D = dict(type='mmpretrain.LinearNeck', in_channels=32, out_channels=8, norm_cfg=dict(type='BN1d'))


@pytest.fixture
def train(tiny_config, tool, tmp_path):
    """Train a changed tiny config for an epoch: ``train(*options, **changes)``."""

    def run(*options, **changes):
        for name in ('train_dataloader', 'val_dataloader'):
            changes[name] = {**ONE, **changes.get(name, {})}
        options = ['train_cfg.max_epochs=1', *options]
        tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options])
        assert (tmp_path / 'run' / 'epoch_1.pth').exists()

    yield run


@pytest.fixture
def refuses(train, tmp_path):
    """Assert that a training is refused before its first step, and that the change that is named makes it good."""

    def check(message, change, **changes):
        with pytest.raises(ValueError, match=message):
            train(**changes)
        assert not list((tmp_path / 'run').glob('*.pth'))
        train(*([change] if isinstance(change, str) else change), **changes)

    return check


def test_set_that_is_smaller_than_a_batch(refuses):
    refuses(
        r'there must be a batch of 64 images, but there are 44 .* take train_dataloader\.batch_size=44 or less, or '
        r'train_dataloader\.drop_last=False',
        'train_dataloader.batch_size=44',
        train_dataloader=dict(batch_size=64, drop_last=True),
    )


def test_last_batch_of_one(refuses, train):
    gap = dict(type='GlobalAveragePooling')
    refuses(
        r'neck\.1\.norm normalises by the values of a batch, .* of 44 images in batches of 43 the last batch is one: '
        r'take train_dataloader\.drop_last=True',
        'train_dataloader.drop_last=True',
        train_dataloader=dict(batch_size=43),
        model=dict(neck=[gap, BN1D], head=dict(in_channels=8)),
    )


def test_last_batch_of_one_where_each_image_has_many_values(train):
    train(train_dataloader=dict(batch_size=43))


def test_batches_of_one(refuses):
    refuses(
        r'train_dataloader\.batch_size must be at least 2 in each process, but got 1',
        'train_dataloader.batch_size=2',
        train_dataloader=dict(batch_size=1),
        model=dict(neck=[dict(type='GlobalAveragePooling'), BN1D], head=dict(in_channels=8)),
    )


def test_top_5_of_3(refuses):
    refuses(
        r'topk of Accuracy must be at most 3, .* but got \(1, 5\): take val_evaluator\.topk=\(1,\)',
        'val_evaluator.topk=(1,)',
        val_evaluator=dict(topk=(1, 5)),
    )


@pytest.fixture
def two_sizes(image_folder, tmp_path):
    """The data with validation images of two sizes."""
    shutil.copytree(image_folder, tmp_path / 'data')
    path = tmp_path / 'data' / 'val' / 'b' / '07.png'
    cv2.imwrite(str(path), np.zeros((24, 20, 3), np.uint8))
    return str(tmp_path / 'data')


def test_two_sizes_in_a_validation_batch(refuses, two_sizes):
    refuses(
        r'val_dataloader: images of a batch must have one size .* is \(2\d, 20\) and .* is \(2\d, 20\) \(.*'
        r'val_dataloader\.dataset\.pipeline resize and crop to a fixed size, or take val_dataloader\.batch_size=1',
        'val_dataloader.batch_size=1',
        val_dataloader=dict(dataset=dict(data_root=two_sizes)),
    )


def test_two_sizes_that_are_made_one(train, two_sizes):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]
    train(val_dataloader=dict(dataset=dict(data_root=two_sizes, pipeline=pipeline)))


def test_classes_that_mixing_needs_are_taken_from_the_head(train, capfd):
    train(model=dict(data_preprocessor=dict(num_classes=None)))
    assert 'data_preprocessor.num_classes is 3, as the head has it' in ''.join(capfd.readouterr())
    with pytest.raises(ValueError, match=r'data_preprocessor\.num_classes must be 3, .* but got 5'):
        train(model=dict(data_preprocessor=dict(num_classes=5)))


def test_training_without_labels(train):
    with pytest.raises(ValueError, match='Accuracy needs labels, but the data has none'):
        train(val_dataloader=dict(dataset=dict(with_label=False)))
    with pytest.raises(ValueError, match='a head of classes needs labels, but the training data has none'):
        train(train_dataloader=dict(dataset=dict(with_label=False)))
