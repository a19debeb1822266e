# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import warnings

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import BATCH_AUGMENTS, MODELS
from mmpretrain.structures import DataSample
from torch.nn.functional import one_hot

from mmmaskany.engine.seeding.seeds import derive_seed, seed_all
from mmmaskany.masking import (
    BlockPattern,
    GridPattern,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    RandomPattern,
    Views,
)
from mmmaskany.models.batch_augments import MaskMix

PATTERNS = [
    PatchPattern(scale=0.5, base=1),
    PatchPattern(ratio=0.3, base=1),
    GridPattern(scale=0.5, cell=[1, 2], base=1),
    RandomPattern(ratio=0.7, cell=2, base=2),
    BlockPattern(ratio=0.4, cell=1, base=1),
    NoisePattern(ratio=0.6, cell=1, base=1),
    MixturePattern([PatchPattern(ratio=0.2, base=1), RandomPattern(ratio=0.6, cell=[1, 2], base=1)], [0.4, 0.4]),
]


def batch(count, height=10, width=10):
    """Images that hold their own number, and its one-hot label."""
    return torch.arange(count).view(-1, 1, 1, 1).expand(count, 3, height, width).float(), one_hot(torch.arange(count))


@pytest.mark.parametrize('pattern', PATTERNS, ids=repr)
@pytest.mark.parametrize(('count', 'height', 'width'), [(2, 10, 10), (5, 11, 13), (8, 9, 16)])
def test_labels_are_the_share_of_each_image(pattern, count, height, width):
    images, labels = batch(count, height, width)
    before = images.clone()
    torch.manual_seed(0)
    mixed, scores = MaskMix(pattern)(images, labels)
    assert torch.equal(images, before)
    # Count, for every sample, the pixels that each image of the batch gave it.
    shares = one_hot(mixed[:, 0].long(), count).float().mean((1, 2))
    torch.testing.assert_close(scores, shares)
    assert torch.equal(mixed, mixed[:, :1].expand_as(mixed))
    for index in range(count):
        assert set(scores[index].nonzero().flatten().tolist()) <= {index, (index - 1) % count}
    if not isinstance(pattern, MixturePattern):  # which leaves some unmixed
        assert (scores.amax(1) < 1).all()  # none is its own partner, in an odd batch either


def test_masked_pixels_come_from_the_same_place_of_the_partner():
    images = torch.arange(3 * 2 * 6 * 6).view(3, 2, 6, 6).float()
    pattern = RandomPattern(ratio=0.5, cell=2, base=1)
    torch.manual_seed(3)
    draw = pattern.draw(3, 6, 6)
    torch.manual_seed(3)
    mixed, _ = MaskMix(pattern)(images, torch.eye(3))
    assert torch.equal(mixed, torch.where(draw.mask[:, None], images[[2, 0, 1]], images))


def test_soft_labels_stay_sums_of_one():
    scores = torch.tensor([[0.25, 0.75, 0], [0, 0.5, 0.5]])
    _, mixed = MaskMix(PatchPattern(scale=0.5, base=1))(torch.zeros(2, 3, 8, 8), scores)
    torch.testing.assert_close(mixed, torch.tensor([[0.1875, 0.6875, 0.125], [0.0625, 0.5625, 0.375]]))


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('dtype', [torch.float, torch.half])
def test_dtype_and_memory_format(dtype, memory_format):
    images = torch.randn(4, 3, 8, 8).to(dtype).contiguous(memory_format=memory_format)
    mixed, scores = MaskMix(GridPattern(scale=0.5, cell=2, base=1))(images, torch.eye(4, dtype=torch.long))
    assert mixed.dtype == dtype and mixed.is_contiguous(memory_format=memory_format)
    assert scores.dtype == torch.float


def test_a_step_can_be_replayed():
    images, labels = batch(6)
    mix = MaskMix(RandomPattern(ratio=0.5, cell=1, base=1))
    mixed = []
    for iteration in (7, 8, 7):
        seed_all(derive_seed('step', 0, 0, iteration))
        mixed.append(mix(images, labels)[0])
    assert torch.equal(mixed[0], mixed[2]) and not torch.equal(mixed[0], mixed[1])


def test_a_batch_of_one_passes_with_a_warning():
    images, labels = batch(1)
    with pytest.warns(UserWarning, match='a batch of one image is not mixed'):
        mixed, scores = MaskMix(PatchPattern(scale=0.5))(images, labels)
    assert torch.equal(mixed, images) and torch.equal(scores, labels.float())


def test_errors():
    with pytest.raises(TypeError, match='must be a Pattern or MixturePattern, but got float'):
        MaskMix(0.5)
    with pytest.raises(TypeError, match='pattern must be a Pattern or MixturePattern, but got MeanFill'):
        MaskMix(dict(type='mmmaskany.MeanFill'))
    with pytest.raises(KeyError, match='type of pattern must be one of'):
        MaskMix(dict(type='mmmaskany.NoSuchPattern'))
    with pytest.raises(ValueError, match=r'must be of shape \(batch, classes\), one-hot or soft, but got \(2,\)'):
        MaskMix(PatchPattern(scale=0.5))(torch.zeros(2, 3, 16, 16), torch.zeros(2))
    with pytest.raises(ValueError, match='take a larger image or smaller cells'):
        MaskMix(GridPattern(scale=0.5, cell=16))(*batch(2))


@pytest.mark.parametrize('others', [[], [dict(type='CutMix', alpha=1.0), dict(type='Mixup', alpha=0.8)]])
def test_in_a_classifier_of_mmpretrain(others):
    init_default_scope('mmpretrain')
    pattern = dict(type='mmmaskany.NoisePattern', ratio=0.5, color='red', cell=2, base=1)
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            data_preprocessor=dict(num_classes=3),
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=32, loss=dict(type='CrossEntropyLoss')),
            train_cfg=dict(augments=[dict(type='mmmaskany.MaskMix', pattern=pattern), *others]),
        )
    )
    augment = model.data_preprocessor.batch_augments
    assert type(augment.augments[0]) is MaskMix
    augment.augments = augment.augments[:1]
    inputs = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    data = dict(inputs=inputs, data_samples=[DataSample().set_gt_label(label) for label in range(3)])
    out = model.data_preprocessor(data, training=True)
    scores = torch.stack([sample.gt_score for sample in out['data_samples']])
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]]))
    assert [image.unique().tolist() for image in out['inputs']] == [[0, 2], [0, 1], [1, 2]]
    model.train()
    model(**out, mode='loss')['loss'].backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    # Nothing is mixed in evaluation.
    assert torch.equal(model.data_preprocessor(data)['inputs'], inputs.float())


def test_pairs_of_the_data_pipeline_are_refused():
    mix = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.PatchPattern', scale=0.5))
    preprocessor = MODELS.build(
        dict(type='mmmaskany.MaskAnyDataPreprocessor', num_classes=2, batch_augments=dict(augments=mix))
    )
    pair = Views(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match='only Mixup goes with pairs, but got MaskMix'):
        preprocessor(dict(inputs=pair), training=True)


def test_names():
    import mmmaskany

    assert BATCH_AUGMENTS.get('mmmaskany.MaskMix') is MaskMix is mmmaskany.MaskMix
    with pytest.raises(AttributeError, match="module 'mmmaskany' has no attribute 'MaskMax'"):
        _ = mmmaskany.MaskMax
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert repr(MaskMix(PatchPattern(scale=0.5))) == f'MaskMix(pattern={PatchPattern(scale=0.5)!r})'
