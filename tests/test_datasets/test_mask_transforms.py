# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import DefaultScope
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from mmmaskany.datasets.transforms import AugmentReused, MaskRegions, PackMaskAnyInputs, TorchvisionAutoAugment
from mmmaskany.masking import PatchPattern, Views

PATCH = dict(type='mmmaskany.PatchPattern', scale=0.5, base=1)
GRID = dict(type='mmmaskany.GridPattern', scale=0.5, cell=4, base=4)


def mixture(*probs):
    return dict(type='mmmaskany.MixturePattern', patterns=[PATCH | dict(base=4), GRID][: len(probs)], probs=probs)


def make_image(height=16, width=16):
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)


# ---------------------------------------------------------------------- MaskRegions


def test_masked_sample():
    image = make_image()
    torch.manual_seed(0)
    results = MaskRegions(PATCH)(dict(img=image, img_path='a.png'))
    assert results['masked'] is True and results['img_path'] == 'a.png'
    visible, reused = results['img'], results['reused_img']
    rows, cols = np.nonzero((visible == 0).all(-1))
    top, left = rows.min(), cols.min()
    assert len(rows) == 64
    np.testing.assert_array_equal(reused, image[top : top + 8, left : left + 8])
    restored = visible.copy()
    restored[top : top + 8, left : left + 8] = reused
    np.testing.assert_array_equal(restored, image)


def test_unmasked_sample_shows_the_whole_image_twice():
    image = make_image()
    results = MaskRegions(mixture(0.0))(dict(img=image))
    assert results['masked'] is False
    assert results['img'] is image
    np.testing.assert_array_equal(results['reused_img'], image)
    assert not np.shares_memory(results['reused_img'], image)  # a later transform may write into either


def test_without_a_pattern_nothing_is_masked():
    image = make_image()
    transform = MaskRegions(None)
    results = transform(dict(img=image))
    assert results['masked'] is False and results['img'] is image
    np.testing.assert_array_equal(results['reused_img'], image)
    assert results['reused_img'] is not image
    assert repr(transform) == 'MaskRegions(pattern=None, fill=0, reuse=True)'


def test_the_given_image_is_not_modified():
    image, transform = make_image(), MaskRegions(mixture(0.4, 0.4))
    kept = image.copy()
    for _ in range(20):
        results = transform(dict(img=image))
        if results['masked']:
            results['img'][...] = 0
    np.testing.assert_array_equal(image, kept)


def test_samples_of_a_mixture():
    transform, image = MaskRegions(mixture(0.2, 0.3)), make_image(32, 32)
    torch.manual_seed(0)
    kinds = []
    for _ in range(1000):
        results = transform(dict(img=image))
        rows = np.flatnonzero((results['img'] == 0).all(-1).any(1))
        if not results['masked']:
            kinds.append('whole')
            assert not len(rows)
        else:  # four cells of a grid of 4 px take 16 rows as well, but reach further
            kinds.append('patch' if np.ptp(rows) == 15 else 'grid')
            assert len(rows) == 16 and (results['img'] == 0).all(-1).sum() == 256
    for kind, share in (('whole', 0.5), ('patch', 0.2), ('grid', 0.3)):
        assert abs(kinds.count(kind) / 1000 - share) < 0.05


def test_seed_decides_the_draw_whatever_the_other_generators_say():
    transform, image = MaskRegions(mixture(0.4, 0.4)), make_image(64, 64)
    runs = []
    for numpy_seed in (0, 1):
        np.random.seed(numpy_seed)
        torch.manual_seed(5)
        runs.append([transform(dict(img=image))['img'] for _ in range(20)])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != runs[0][0]).any() for a in runs[0])


def test_fill_is_in_units_of_the_image():
    image = np.zeros((16, 16, 3), np.uint8)
    visible = MaskRegions(PATCH, fill=(104, 116, 124))(dict(img=image))['img']
    assert np.unique(visible.reshape(-1, 3), axis=0).tolist() == [[0, 0, 0], [104, 116, 124]]


def test_without_reuse_the_reused_view_is_the_visible_one():
    for pattern in (PATCH, dict(type='mmmaskany.PatchPattern', ratio=0.25, base=1)):
        results = MaskRegions(pattern, reuse=False)(dict(img=make_image()))
        assert (results['img'] == 0).all(-1).sum() == 64
        np.testing.assert_array_equal(results['img'], results['reused_img'])
        assert not np.shares_memory(results['img'], results['reused_img'])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match='needs a pattern with a `scale`, but got PatchPattern'):
        MaskRegions(dict(type='mmmaskany.PatchPattern', ratio=0.25))
    with pytest.raises(TypeError, match='must be a Pattern or MixturePattern, but got ConstantFill'):
        MaskRegions(dict(type='mmmaskany.ConstantFill'))
    with pytest.raises(TypeError, match='numpy array, but got Tensor'):
        MaskRegions(PATCH)(dict(img=torch.zeros(3, 8, 8)))
    with pytest.raises(ValueError, match='must mask at least one cell'):
        MaskRegions(GRID)(dict(img=make_image(4, 4)))


def test_transforms_can_be_copied_pickled_and_printed():
    transform = MaskRegions(PatchPattern(scale=0.5, base=1))
    augment = AugmentReused('cifar10')
    for again in (copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))):
        torch.manual_seed(0)
        expected = augment(transform(dict(img=make_image())))
        torch.manual_seed(0)
        results = again(augment)(again(transform)(dict(img=make_image())))
        np.testing.assert_array_equal(results['img'], expected['img'])
    assert repr(transform) == 'MaskRegions(pattern=PatchPattern(scale=0.5, cell=[1], base=1), fill=0, reuse=True)'
    assert repr(augment) == "AugmentReused(policy='cifar10', bgr=True, interpolation='bilinear')"


# ---------------------------------------------------------------------- AugmentReused


def test_reused_view_is_resized_to_half_the_visible_one_rounded_up():
    reused = np.arange(16, dtype=np.uint8).reshape(4, 4)[..., None].repeat(3, -1)
    results = AugmentReused()(dict(img=np.zeros((4, 4, 3), np.uint8), reused_img=reused, masked=False))
    # The mean of each 2 x 2 pixels, as the model makes it, rounded to whole numbers: 2.5, 4.5, 10.5, 12.5.
    assert np.abs(results['reused_img'][..., 0] - np.array([[2.5, 4.5], [10.5, 12.5]])).max() <= 0.5
    results = AugmentReused()(dict(img=np.zeros((7, 5, 3), np.uint8), reused_img=reused, masked=True))
    assert results['reused_img'].shape == (4, 3, 3)


def test_a_canvas_of_the_right_size_stays_bit_for_bit():
    results = MaskRegions(PATCH)(dict(img=make_image()))
    canvas = results['reused_img'].copy()
    np.testing.assert_array_equal(AugmentReused()(results)['reused_img'], canvas)


@pytest.mark.parametrize('size', [(16, 16), (17, 23)])
def test_canvas_is_resized_although_it_is_a_read_only_view(size):
    results = AugmentReused()(MaskRegions(PATCH)(dict(img=make_image(*size))))
    results['img'] = results['img'][:10, :10]
    assert AugmentReused()(results)['reused_img'].shape == (5, 5, 3)


class Invert:
    def __call__(self, results):
        assert results['img_shape'] == results['img'].shape[:2]
        results['img'] = 255 - results['img']
        return results


def test_policy_is_for_the_reused_view_of_unmasked_samples_only():
    transform = AugmentReused(policy=[Invert()])
    image, reused = make_image(), make_image(8, 8)
    masked = transform(dict(img=image, reused_img=reused, masked=True))
    np.testing.assert_array_equal(masked['reused_img'], reused)
    unmasked = transform(dict(img=image, reused_img=reused, masked=False))
    np.testing.assert_array_equal(unmasked['reused_img'], 255 - reused)
    assert unmasked['img'] is image


def test_policy_of_configs():
    transform = AugmentReused(policy=[dict(type='mmpretrain.Solarize', thr=0, prob=1.0)])
    reused = make_image(8, 8)
    results = transform(dict(img=make_image(), reused_img=reused, masked=False))
    np.testing.assert_array_equal(results['reused_img'], 255 - reused)


@pytest.mark.parametrize('policy', ['cifar10', 'imagenet'])
def test_auto_augment(policy):
    transform, image, reused = AugmentReused(policy), make_image(64, 64), make_image(32, 32)
    kept = reused.copy()
    outs = []
    for seed in range(20):
        torch.manual_seed(seed)
        results = transform(dict(img=image, reused_img=reused, masked=False))
        assert results['reused_img'].dtype == np.uint8 and results['reused_img'].shape == (32, 32, 3)
        torch.manual_seed(seed)
        again = transform(dict(img=image, reused_img=reused, masked=False))
        np.testing.assert_array_equal(again['reused_img'], results['reused_img'])
        outs.append(results['reused_img'].tobytes())
    assert len(set(outs)) > 5
    np.testing.assert_array_equal(reused, kept)


def test_auto_augment_knows_the_order_of_channels():
    image, reused = make_image(64, 64), make_image(32, 32)
    for seed in range(8):
        outs = []
        for bgr, view in ((True, reused), (False, np.ascontiguousarray(reused[..., ::-1]))):
            torch.manual_seed(seed)
            outs.append(AugmentReused('imagenet', bgr=bgr)(dict(img=image, reused_img=view, masked=False)))
        np.testing.assert_array_equal(outs[0]['reused_img'], outs[1]['reused_img'][..., ::-1])


@pytest.mark.parametrize('bgr', [False, True])
def test_auto_augment_of_an_image_is_torchvisions(bgr):
    image = make_image()
    transform = TRANSFORMS.build(dict(type='mmmaskany.TorchvisionAutoAugment', policy='cifar10', bgr=bgr))
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10)
    for seed in range(8):
        torch.manual_seed(seed)
        ours = transform(dict(img=image.copy()))['img']
        torch.manual_seed(seed)
        expected = np.asarray(theirs(Image.fromarray(np.ascontiguousarray(image[..., ::-1]) if bgr else image)))
        np.testing.assert_array_equal(ours, expected[..., ::-1] if bgr else expected)
        assert ours.flags.c_contiguous
    with pytest.raises(ValueError, match="policy must be one of .*'cifar10'.*but got 'cifar'"):
        TorchvisionAutoAugment('cifar')
    assert repr(TorchvisionAutoAugment('svhn')) == "TorchvisionAutoAugment(policy='svhn', bgr=True)"


def test_wrong_policies_and_inputs_are_refused():
    with pytest.raises(ValueError, match="one of .*'cifar10'.* or a list of transforms, but got 'cifar100'"):
        AugmentReused('cifar100')
    with pytest.raises(KeyError, match='reused_img, which MaskRegions adds'):
        AugmentReused()(dict(img=make_image()))


# ---------------------------------------------------------------------- PackMaskAnyInputs


def pipeline(*middle):
    return [MaskRegions(mixture(0.3, 0.3)), *middle, AugmentReused('cifar10'), PackMaskAnyInputs()]


def run(transforms, results):
    for transform in transforms:
        results = transform(results)
    return results


def test_packed_pair():
    visible, reused = make_image(5, 7), make_image(3, 4)
    packed = PackMaskAnyInputs()(
        dict(img=visible, reused_img=reused, masked=True, gt_label=3, img_path='a.png', img_shape=(5, 7))
    )
    assert set(packed) == {'inputs', 'data_samples'} and isinstance(packed['inputs'], Views)
    np.testing.assert_array_equal(packed['inputs'].visible.numpy(), visible.transpose(2, 0, 1))
    np.testing.assert_array_equal(packed['inputs'].reused.numpy(), reused.transpose(2, 0, 1))
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [3] and sample.masked is True and sample.img_path == 'a.png'


def test_plain_sample_is_packed_as_by_mmpretrain():
    results = dict(img=make_image(), gt_label=1, img_path='a.png')
    ours, theirs = PackMaskAnyInputs()(results), PackInputs()(results)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['data_samples'].to_dict().keys() == theirs['data_samples'].to_dict().keys()


def test_unmatched_sizes_are_refused():
    with pytest.raises(ValueError, match=r'so \(8, 8\) for \(16, 15\), but got \(7, 8\): put AugmentReused after'):
        PackMaskAnyInputs()(dict(img=make_image(16, 15), reused_img=make_image(7, 8)))


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_packed_pairs_can_be_collated(collate):
    torch.manual_seed(0)
    batch = collate([run(pipeline(), dict(img=make_image(32, 24), gt_label=i)) for i in range(3)])
    assert isinstance(batch['inputs'], Views)
    assert len(batch['inputs'].visible) == len(batch['inputs'].reused) == 3
    assert all(view.shape == (3, 32, 24) for view in batch['inputs'].visible)
    assert all(view.shape == (3, 16, 12) for view in batch['inputs'].reused)
    assert [sample.gt_label.item() for sample in batch['data_samples']] == [0, 1, 2]


# ---------------------------------------------------------------------- the order


def mmpretrains(**cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return TRANSFORMS.build(cfg)


def test_masks_first_then_each_view_on_its_own():
    """The reference's order: what comes after the masks moves the visible view alone."""
    image = make_image(40, 48)
    torch.manual_seed(1)
    np.random.seed(1)
    out = run(
        [
            MaskRegions(PATCH),
            mmpretrains(type='RandomFlip', prob=1.0),
            mmpretrains(type='Resize', scale=(32, 32)),
            AugmentReused(),
        ],
        dict(img=image),
    )
    torch.manual_seed(1)
    masked = MaskRegions(PATCH)(dict(img=image))
    expected = mmpretrains(type='Resize', scale=(32, 32))(dict(img=masked['img'][:, ::-1].copy()))['img']
    np.testing.assert_array_equal(out['img'], expected)
    resize = mmpretrains(type='Resize', scale=(16, 16), interpolation='bilinear', backend='pillow')
    np.testing.assert_array_equal(out['reused_img'], resize(dict(img=masked['reused_img']))['img'])


def test_geometry_first_serves_both_views():
    image = make_image(40, 48)
    np.random.seed(1)
    crop = [mmpretrains(type='RandomResizedCrop', scale=32), mmpretrains(type='RandomFlip', prob=1.0)]
    out = run([*crop, MaskRegions(PATCH), AugmentReused()], dict(img=image))
    np.random.seed(1)
    expected = run(crop, dict(img=image))['img']
    restored = out['img'].copy()
    restored[(restored == 0).all(-1)] = out['reused_img'].reshape(-1, 3)
    np.testing.assert_array_equal(restored, expected)


def test_the_reused_view_of_a_photograph_is_antialiased_as_by_pil():
    """Noise of a standard deviation of 74 would keep 49 of it if pixels were passed over."""
    image = np.random.default_rng(0).integers(0, 256, (448, 448, 3)).astype(np.uint8)
    out = AugmentReused()(dict(img=make_image(224, 224), reused_img=image, masked=False))['reused_img']
    expected = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(out, expected)
    assert out.std() < 20
