# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The two views that a data pipeline makes reach the backbone, or the run does not start."""

import numpy as np
import pytest
from mmcv.transforms import RandomApply
from mmengine.dataset import ConcatDataset
from mmpretrain.datasets import CustomDataset, PackInputs
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier

from mmmaskany.datasets.transforms import AugmentReused, MaskRegions, PackMaskAnyInputs
from mmmaskany.datasets.wrappers import SeededDataset
from mmmaskany.engine.checks.pipeline import check_views
from mmmaskany.masking import PatchPattern
from mmmaskany.models import MaskAny, MaskAnyDataPreprocessor

HOST = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
OURS = PackMaskAnyInputs()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    import cv2

    root = tmp_path_factory.mktemp('images')
    for name in 'ab':
        (root / name).mkdir()
        assert cv2.imwrite(str(root / name / '0.png'), np.zeros((8, 8, 3), np.uint8))
    return str(root)


def dataset(folder, *steps, reuse=True):
    """Put the masks into a pipeline, as a wrapper of other transforms may, and the dataset into wrappers."""
    pipeline = [RandomApply([MaskRegions(PatchPattern(0.5), reuse=reuse)]), *steps]
    inner = CustomDataset(folder, pipeline=pipeline)
    return SeededDataset(ConcatDataset([CustomDataset(folder, pipeline=[PackInputs()]), inner]))


def classifier(preprocessor=MaskAnyDataPreprocessor, backbone=None):
    backbone = MaskAny(HOST) if backbone is None else backbone
    return ImageClassifier(backbone, data_preprocessor=preprocessor())


def test_pairs_that_arrive(folder):
    check_views(classifier(), dataset(folder, AugmentReused(), OURS), 'train_dataloader')


def test_nothing_is_asked_of_other_pipelines(folder):
    check_views(classifier(ClsDataPreprocessor, HOST), CustomDataset(folder, pipeline=[PackInputs()]), 'a')
    check_views(classifier(ClsDataPreprocessor, HOST), CustomDataset(folder, pipeline=[OURS]), 'a')
    check_views(classifier(ClsDataPreprocessor, HOST), dataset(folder, PackInputs(), reuse=False), 'a')
    check_views(classifier(), list(range(3)), 'a')


@pytest.mark.parametrize(
    ('steps', 'model', 'message'),
    [
        (
            [PackInputs()],
            {},
            r'^train_dataloader: MaskRegions makes a reused view.*but PackInputs drops it.*or give.*reuse=False',
        ),
        ([AugmentReused()], {}, 'but the pipeline has no packer'),
        (
            [AugmentReused(), OURS],
            dict(preprocessor=ClsDataPreprocessor),
            r'MaskAnyDataPreprocessor normalises, but the model has ClsDataPreprocessor: give it data_preprocessor=',
        ),
        (
            [AugmentReused(), OURS],
            dict(backbone=HOST),
            r'two views, but ResNet_CIFAR takes one image: put',
        ),
    ],
)
def test_pairs_that_do_not_arrive(folder, steps, model, message):
    with pytest.raises(ValueError, match=message):
        check_views(classifier(**model), dataset(folder, *steps), 'train_dataloader')
