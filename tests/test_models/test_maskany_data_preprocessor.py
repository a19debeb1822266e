# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from mmmaskany.masking import Views
from mmmaskany.models import MaskAnyDataPreprocessor

NORMALISE = dict(mean=[10.0, 20.0, 30.0], std=[2.0, 4.0, 5.0], to_rgb=True)
MIXUP = dict(augments=dict(type='Mixup', alpha=0.8))
CUTMIX = dict(augments=dict(type='CutMix', alpha=1.0))


def sample(value, size=(4, 6), label=None, pair=True):
    """A packed sample of which each channel of the reused view is 1 above the visible view's."""
    visible = torch.full((3, *size), value, dtype=torch.uint8) + torch.tensor([0, 50, 100])[:, None, None]
    reused = visible[:, : (size[0] + 1) // 2, : (size[1] + 1) // 2] + 1
    data_sample = DataSample().set_gt_label(value % 3 if label is None else label)
    inputs = Views(visible.to(torch.uint8), reused.to(torch.uint8), ()) if pair else visible.to(torch.uint8)
    return dict(inputs=inputs, data_samples=data_sample)


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_both_views_are_normalised_alike(collate):
    out = MaskAnyDataPreprocessor(**NORMALISE)(collate([sample(1), sample(2)]))
    visible, reused, draw = out['inputs']
    assert isinstance(out['inputs'], Views) and draw is None
    assert visible.shape == (2, 3, 4, 6) and reused.shape == (2, 3, 2, 3)
    # BGR (1, 51, 101) is RGB (101, 51, 1).
    expected = torch.tensor([(101 - 10) / 2, (51 - 20) / 4, (1 - 30) / 5])
    torch.testing.assert_close(visible[0], expected[:, None, None].expand(3, 4, 6))
    expected = expected + 1 / torch.tensor([2.0, 4.0, 5.0])
    torch.testing.assert_close(reused[0], expected[:, None, None].expand(3, 2, 3))
    assert [s.gt_label.item() for s in out['data_samples']] == [1, 2]


def test_a_pair_of_batches_needs_no_labels():
    batch = default_collate([sample(1), sample(2)])
    plain = MaskAnyDataPreprocessor(**NORMALISE)(batch)['inputs']
    out = MaskAnyDataPreprocessor(**NORMALISE)(dict(inputs=Views(batch['inputs'].visible, batch['inputs'].reused)))
    assert out['data_samples'] is None
    assert torch.equal(out['inputs'].visible, plain.visible) and torch.equal(out['inputs'].reused, plain.reused)


@pytest.mark.parametrize('form', [tuple, list, lambda pair: dict(zip(('visible', 'reused'), pair, strict=True))])
def test_two_batches_are_no_pair_by_their_number(form):
    pair = form((torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4)))
    with pytest.raises(
        TypeError, match=r'or mmmaskany.masking.Views\(visible, reused\).*but got a (tuple|list|dict) of'
    ):
        MaskAnyDataPreprocessor()(dict(inputs=pair))


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
@pytest.mark.parametrize('augments', [None, MIXUP, CUTMIX])
@pytest.mark.parametrize('training', [False, True])
def test_a_plain_batch_is_processed_as_by_mmpretrain(collate, augments, training):
    arguments = dict(**NORMALISE, num_classes=3, batch_augments=copy.deepcopy(augments))
    results = []
    for preprocessor in (ClsDataPreprocessor(**arguments), MaskAnyDataPreprocessor(**arguments)):
        np.random.seed(0)
        torch.manual_seed(0)
        # A batch of two: the list that pseudo_collate makes of it is not taken for a pair.
        results.append(preprocessor(collate([sample(1, pair=False), sample(2, pair=False)]), training))
    theirs, ours = results
    assert torch.equal(theirs['inputs'], ours['inputs'])
    if augments is not None:
        for a, b in zip(theirs['data_samples'], ours['data_samples'], strict=True):
            assert torch.equal(a.gt_score, b.gt_score)


def test_mixup_uses_one_permutation_and_ratio_for_both_views():
    preprocessor = MaskAnyDataPreprocessor(num_classes=3, batch_augments=MIXUP)
    torch.manual_seed(0)
    np.random.seed(0)
    values = torch.tensor([0, 10, 21, 32])
    out = preprocessor(default_collate([sample(int(v)) for v in values]), training=True)
    visible, reused = (view[:, 0].flatten(1) for view in out['inputs'][:2])
    torch.manual_seed(0)
    np.random.seed(0)
    np.random.choice(1)  # mmpretrain's choice of the augmentation
    ratio, order = np.random.beta(0.8, 0.8), torch.randperm(4)
    mixed = ratio * values + (1 - ratio) * values[order]
    torch.testing.assert_close(visible, mixed[:, None].float().expand(4, 24))
    torch.testing.assert_close(reused, (mixed + 1)[:, None].float().expand(4, 6))
    scores = torch.nn.functional.one_hot(values % 3, 3)
    expected = ratio * scores + (1 - ratio) * scores[order]
    torch.testing.assert_close(torch.stack([s.gt_score for s in out['data_samples']]), expected.float())


def test_mixup_of_the_visible_view_is_mmpretrains():
    torch.manual_seed(3)
    batch = Views(
        torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.randint(0, 256, (4, 3, 4, 4), dtype=torch.uint8)
    )
    arguments = dict(**NORMALISE, num_classes=5, batch_augments=MIXUP)
    results = []
    for cls, inputs in ((ClsDataPreprocessor, batch.visible), (MaskAnyDataPreprocessor, batch)):
        samples = [DataSample().set_gt_label(label) for label in range(4)]
        torch.manual_seed(1)
        np.random.seed(1)
        results.append(cls(**copy.deepcopy(arguments))(dict(inputs=inputs, data_samples=samples), training=True))
    theirs, ours = results
    assert torch.equal(theirs['inputs'], ours['inputs'].visible)
    for a, b in zip(theirs['data_samples'], ours['data_samples'], strict=True):
        assert torch.equal(a.gt_score, b.gt_score)


def test_no_mixup_at_test_time():
    preprocessor = MaskAnyDataPreprocessor(num_classes=3, batch_augments=MIXUP)
    batch = default_collate([sample(0), sample(11)])
    visible, reused, _ = preprocessor(batch, training=False)['inputs']
    assert torch.equal(visible, batch['inputs'].visible.float())
    assert torch.equal(reused, batch['inputs'].reused.float())


def test_views_keep_their_memory_format_through_mixup():
    preprocessor = MaskAnyDataPreprocessor(num_classes=3, batch_augments=MIXUP)
    batch = default_collate([sample(0), sample(11)])
    views = batch['inputs']
    batch['inputs'] = views._replace(visible=views.visible.to(memory_format=torch.channels_last))
    visible, reused, _ = preprocessor(batch, training=True)['inputs']
    assert visible.is_contiguous(memory_format=torch.channels_last)
    assert reused.is_contiguous()


@pytest.mark.parametrize('augment', ['CutMix', 'ResizeMix'])
@pytest.mark.parametrize('training', [False, True])
def test_rectangles_between_images_are_refused_for_pairs(augment, training):
    augments = dict(augments=[dict(type='Mixup', alpha=0.2), dict(type=augment, alpha=1.0)], probs=[0.5, 0.1])
    preprocessor = MaskAnyDataPreprocessor(num_classes=3, batch_augments=augments)
    with pytest.raises(ValueError, match=f'only Mixup goes with pairs, but got {augment}.*Mask in the model'):
        preprocessor(default_collate([sample(0), sample(1)]), training)


def test_another_batch_augmentation_is_refused_for_pairs():
    preprocessor = MaskAnyDataPreprocessor(num_classes=3, batch_augments=dict(augments=[lambda x, y: (x, y)]))
    with pytest.raises(ValueError, match='but got function'):
        preprocessor(default_collate([sample(0), sample(1)]), training=True)


def test_the_callers_tensors_and_config_stay_as_they_were():
    augments = dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[1.0])
    before = copy.deepcopy(augments)
    preprocessor = MaskAnyDataPreprocessor(num_classes=4, batch_augments=augments)
    assert augments == before
    # Float images without normalisation are what mmpretrain's CutMix would write into.
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8).contiguous()
    kept = images.clone()
    np.random.seed(0)
    torch.manual_seed(0)
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    out = preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert torch.equal(images, kept) and not torch.equal(out['inputs'], kept)

    preprocessor = MaskAnyDataPreprocessor(num_classes=4, batch_augments=MIXUP)
    pair = Views(images, images[..., ::2, ::2].contiguous())
    kept_pair = copy.deepcopy(pair)
    preprocessor(dict(inputs=pair, data_samples=samples), training=True)
    assert torch.equal(pair.visible, kept_pair.visible) and torch.equal(pair.reused, kept_pair.reused)


def test_images_of_several_sizes_are_padded_together():
    batch = pseudo_collate([sample(1, size=(4, 6)), sample(2, size=(5, 3))])
    visible, reused, _ = MaskAnyDataPreprocessor()(batch)['inputs']
    assert visible.shape == (2, 3, 5, 6) and reused.shape == (2, 3, 3, 3)
    assert visible[0, 0, 4].eq(0).all() and visible[0, 0, :4].eq(1).all()


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        (
            Views(torch.zeros(2, 3, 9, 8), torch.zeros(2, 3, 4, 4)),
            r'rounded up, so \(5, 4\) for \(9, 8\), but got \(4, 4\)',
        ),
        (Views(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)), r'so \(4, 4\) for \(8, 8\)'),
        (Views(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 4, 4)), 'as many .* but got 2 and 1'),
    ],
)
def test_wrong_pairs_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        MaskAnyDataPreprocessor()(dict(inputs=inputs))


def test_padding_is_refused_for_pairs():
    preprocessor = MaskAnyDataPreprocessor(pad_size_divisor=32)
    assert preprocessor(dict(inputs=torch.zeros(1, 3, 30, 30)))['inputs'].shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match='pad_size_divisor must be 1 for pairs.* but got 32'):
        preprocessor(default_collate([sample(0)]))
