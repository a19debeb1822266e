# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The two views that a data pipeline makes reach the backbone, or the run does not start."""

import importlib
import re

import numpy as np
import pytest
from mmcv.transforms import RandomApply
from mmengine.dataset import ConcatDataset
from mmengine.model import BaseDataPreprocessor
from mmpretrain.datasets import CIFAR100, CustomDataset, LoadImageFromFile, PackInputs
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from torch import nn

from mmmaskany.datasets.transforms import AugmentReused, MaskRegions, PackMaskAnyInputs
from mmmaskany.engine.checks.pipeline import check_augments, check_views
from mmmaskany.engine.seeding.dataset import SeededDataset
from mmmaskany.masking import Masking, PatchPattern
from mmmaskany.models import MaskAny, MaskAnyDataPreprocessor
from mmmaskany.models.view_augments import AutoAugmentViews

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


# ---------------------------------------------------------------------- numbers of augments

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
#: The data preprocessors of the libraries, and what has them bring the channels into the order of RGB.
PREPROCESSORS = {
    'mmpretrain': ('ClsDataPreprocessor', 'to_rgb'),
    'mmdet': ('DetDataPreprocessor', 'bgr_to_rgb'),
    'mmseg': ('SegDataPreProcessor', 'bgr_to_rgb'),
}


def augmented(preprocessor, **changes):
    """Return a model with AutoAugment of the reused view, of ImageNet's RGB images if not said otherwise."""
    augment = AutoAugmentViews('imagenet', **{'mean': MEAN, 'std': STD, **changes})
    model = nn.ModuleDict(dict(backbone=MaskAny(HOST, masking=Masking(PatchPattern(0.5), augment=augment))))
    model.data_preprocessor = preprocessor
    return model


@pytest.mark.parametrize('library', list(PREPROCESSORS))
def test_an_augment_has_the_numbers_of_the_data_preprocessor(library, folder):
    pytest.importorskip(library)
    name, rgb = PREPROCESSORS[library]
    kind = getattr(importlib.import_module(f'{library}.models'), name)
    files = SeededDataset(CustomDataset(folder, pipeline=[LoadImageFromFile(), PackInputs()]))
    ours = kind(mean=MEAN, std=STD, **{rgb: True})
    check_augments(augmented(ours), files)
    check_augments(augmented(kind(mean=MEAN, std=STD), bgr=True), files)
    check_augments(augmented(ours, mean=[123.68, 116.28, 103.53]), files)  # rounded
    start = (
        'model.backbone.masking.augment: AutoAugmentViews must have the numbers of data_preprocessor, to make pixels'
    )
    channels, grey = '{} channels instead of {}', [79.6] * 3
    for model, difference, give in (
        (augmented(ours, bgr=True), channels.format('RGB', 'BGR'), f'mean={MEAN}, std={STD}, bgr=False'),
        (augmented(kind(mean=MEAN, std=STD)), channels.format('BGR', 'RGB'), f'mean={MEAN}, std={STD}, bgr=True'),
        (
            augmented(kind(mean=grey, std=[90.8] * 3, **{rgb: True})),
            f'mean {grey} instead of {MEAN}, std {[90.8] * 3} instead of {STD}',
            f'mean={grey}, std={[90.8] * 3}, bgr=False',
        ),
        (augmented(ours, std=[58.395, 57.12, 58.4]), f'std {STD} instead of [58.395, 57.12, 58.4]', f'std={STD}'),
    ):
        with pytest.raises(ValueError, match=f'^{re.escape(start)}.*{re.escape(difference)}: give .*{re.escape(give)}'):
            check_augments(model, files)


def test_channels_of_images_that_are_stored_as_rgb():
    data = CIFAR100.__new__(CIFAR100)  # without its files
    data.pipeline = PackInputs()
    check_augments(augmented(ClsDataPreprocessor(mean=MEAN, std=STD)), data)
    with pytest.raises(ValueError, match='makes BGR channels instead of RGB: give .* bgr=True'):
        check_augments(augmented(ClsDataPreprocessor(mean=MEAN, std=STD, to_rgb=True)), data)


def test_what_cannot_be_known_of_an_augment_is_let_through(folder):
    own, files = list(range(3)), CustomDataset(folder, pipeline=[LoadImageFromFile(), PackInputs()])
    for bgr in (True, False):  # a data set of one's own may load in either order
        check_augments(augmented(ClsDataPreprocessor(mean=MEAN, std=STD), bgr=bgr), own)
    for preprocessor in (ClsDataPreprocessor(), BaseDataPreprocessor()):  # normalised in the pipeline
        check_augments(augmented(preprocessor), files)
    with pytest.raises(ValueError, match='makes mean'):
        check_augments(augmented(ClsDataPreprocessor(mean=STD, std=STD)), own)
