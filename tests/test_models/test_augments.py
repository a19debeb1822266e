# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""AutoAugment of the reused view, in the model: torchvision's own, of unmasked samples alone."""

import copy

import pytest
import torch
from generators import seeded
from mmengine.registry import MODELS, init_default_scope
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from mmmaskany.masking import Augment, GridPattern, Masking, MixturePattern, PatchPattern, half_size
from mmmaskany.models.algebra import build_masking
from mmmaskany.models.backbones import MaskAny
from mmmaskany.models.view_augments import AutoAugmentViews

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
FORMATS = [torch.contiguous_format, torch.channels_last]


def pictures(count=8, side=32):
    """Images of 8 bits that are no noise: every operation changes them."""
    ramp = torch.linspace(40, 215, side)
    images = torch.stack(
        [ramp.expand(side, side), ramp.view(-1, 1).expand(side, side), ramp.flip(0).expand(side, side)]
    )
    shift = torch.randint(-40, 40, (count, 3, 1, 1), generator=seeded())
    return (images + shift).round().byte()


def normalise(images):
    return (images.float() - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


def half_the_samples():
    return MixturePattern([PatchPattern(scale=0.5), GridPattern(scale=0.5, cell=4)], [0.25, 0.25])


@pytest.mark.parametrize('bgr', [False, True])
@pytest.mark.parametrize('policy', ['cifar10', 'imagenet', 'svhn'])
def test_it_is_torchvisions(policy, bgr):
    pixels, theirs = pictures(24), AutoAugment(AutoAugmentPolicy(policy))
    torch.manual_seed(3)
    expected = torch.stack([theirs(image) for image in pixels])
    assert (expected != pixels).flatten(1).any(1).float().mean() > 0.7
    order = [2, 1, 0] if bgr else [0, 1, 2]
    augment = AutoAugmentViews(policy, [MEAN[i] for i in order], [STD[i] for i in order], bgr)
    images = normalise(pixels)[:, order]
    before = images.clone()
    torch.manual_seed(3)
    torch.testing.assert_close(augment(images), normalise(expected)[:, order])
    assert torch.equal(images, before)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.double, torch.half, torch.bfloat16])
def test_kind_of_the_images_is_kept(dtype, memory_format):
    images = normalise(pictures()).to(dtype).contiguous(memory_format=memory_format)
    augmented = AutoAugmentViews('imagenet', MEAN, STD)(images)
    assert augmented.dtype == dtype and augmented.shape == images.shape
    assert augmented.is_contiguous(memory_format=memory_format)


def test_seeds():
    augment, images = AutoAugmentViews('imagenet', MEAN, STD), normalise(pictures())
    torch.manual_seed(5)
    first, then = augment(images), augment(images)
    torch.manual_seed(5)
    assert torch.equal(augment(images), first) and not torch.equal(first, then)
    # By a generator, which leaves the global one alone.
    state = torch.get_rng_state()
    first, other = augment(images, seeded(1)), augment(images, seeded(2))
    assert torch.equal(augment(images, seeded(1)), first) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('reuse', [True, 'aligned', 'in_place', False])
def test_it_changes_the_reused_view_of_unmasked_samples_alone(reuse):
    images = normalise(pictures(40))
    plain = Masking(half_the_samples(), reuse=reuse)(images, generator=seeded())
    masking = Masking(half_the_samples(), reuse=reuse, augment=AutoAugmentViews('imagenet', MEAN, STD))
    generator = seeded()
    visible, reused, draw = masking(images, generator=generator)
    assert torch.equal(draw.mask, plain.draw.mask) and torch.equal(visible, plain.visible)
    assert 8 < draw.masked.sum() < 32
    assert torch.equal(reused[draw.masked], plain.reused[draw.masked])
    # What is augmented is the whole image, which is then halved.
    generator = seeded()
    half_the_samples().draw(40, 32, 32, generator)
    augmented = masking.augment(images[~draw.masked], generator)
    assert torch.equal(reused[~draw.masked], half_size(augmented))
    assert (reused != plain.reused).flatten(1).any(1).float().mean() > 0.3


def test_the_control_without_masks():
    images = normalise(pictures(20))
    pattern = MixturePattern([PatchPattern(scale=0.5)], [0.0])
    visible, reused, draw = Masking(pattern, augment=AutoAugmentViews('cifar10', MEAN, STD))(images)
    assert torch.equal(visible, images) and not draw.masked.any()
    assert (reused != half_size(images)).flatten(1).any(1).float().mean() > 0.6


def test_by_config_and_in_training_only():
    init_default_scope('mmpretrain')
    augment = dict(type='mmmaskany.AutoAugmentViews', policy='imagenet', mean=MEAN, std=STD)
    cfg = dict(pattern=dict(type='mmmaskany.PatchPattern', scale=0.5), augment=augment)
    cfg['pattern'] = dict(type='mmmaskany.MixturePattern', patterns=[cfg['pattern']], probs=[0.0])
    for masking in (build_masking(cfg), MODELS.build(dict(cfg, type='mmmaskany.Masking'))):
        assert isinstance(masking.augment, AutoAugmentViews) and not masking.state_dict()
        assert "policy='imagenet'" in repr(copy.deepcopy(masking))
    model = MaskAny(dict(type='mmpretrain.ResNet', depth=18), masking=cfg)
    images = normalise(pictures())
    model.train()
    torch.manual_seed(0)
    first = model.views(images).reused
    assert not torch.equal(first, half_size(images))
    torch.manual_seed(0)
    assert torch.equal(model.views(images).reused, first)
    model.eval()
    assert torch.equal(model.views(images).reused, half_size(images))


def test_gradients_of_masked_samples_stay():
    images = normalise(pictures(40)).requires_grad_()
    visible, reused, draw = Masking(half_the_samples(), augment=AutoAugmentViews('imagenet', MEAN, STD))(
        images, generator=seeded()
    )
    (visible.sum() + reused.sum()).backward()
    assert (images.grad[draw.masked] == 1).all() and (images.grad[~draw.masked] == 1).all()


@pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
def test_compiled_it_draws_anew_each_time(backend):
    torch._dynamo.reset()
    masking = Masking(half_the_samples(), augment=AutoAugmentViews('imagenet', MEAN, STD))
    compiled, images = torch.compile(masking, backend=backend), normalise(pictures())
    torch.manual_seed(0)
    seen = [compiled(images) for _ in range(3)]
    for views in seen:
        assert torch.equal(views.reused[views.draw.masked], masking(images, views.draw).reused[views.draw.masked])
    assert not torch.equal(seen[0].reused, seen[1].reused)
    unmasked = Masking(MixturePattern([PatchPattern(scale=0.5)], [0.0]), augment=masking.augment)
    other = torch.compile(unmasked, backend=backend)
    torch.manual_seed(1)
    first, second = (other(images).reused for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(other(images).reused, first) and not torch.equal(first, second)


def test_augments_that_are_none():
    with pytest.raises(TypeError, match='augment must be an Augment, but got AutoAugment'):
        Masking(PatchPattern(scale=0.5), augment=AutoAugment())
    with pytest.raises(TypeError, match='augment must be an Augment, but got ConstantFill'):
        build_masking(dict(pattern=PatchPattern(scale=0.5), augment=dict(type='mmmaskany.ConstantFill')))
    with pytest.raises(NotImplementedError, match='Augment must define'):
        Augment()(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"policy must be one of \['imagenet', 'cifar10', 'svhn'\], but got 'coco'"):
        AutoAugmentViews('coco', MEAN, STD)
    with pytest.raises(ValueError, match=r'mean must be that of three channels, in units of .* but got \[0.5\]'):
        AutoAugmentViews('imagenet', [0.5], STD)
    with pytest.raises(ValueError, match=r'std must be .* pixels of 0 to 255 .* but got \[0.229, 0.224, 0.225\]'):
        AutoAugmentViews('imagenet', [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with pytest.raises(ValueError, match=r'three channels, but got \(1, 1, 8, 8\)'):
        AutoAugmentViews('imagenet', MEAN, STD)(torch.zeros(1, 1, 8, 8))


def test_other_numbers_than_those_that_normalised_the_images():
    wrong = AutoAugmentViews('imagenet', [0, 0, 0], [255, 255, 255])
    with pytest.raises(ValueError, match='mean and std must be those that the images were normalised by'):
        wrong(normalise(pictures()))


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives():
    augment, images = AutoAugmentViews('imagenet', MEAN, STD).cuda(), normalise(pictures(24))
    torch.manual_seed(3)
    on_gpu = augment(images.cuda())
    torch.manual_seed(3)
    on_cpu = augment.cpu()(images)
    # Operations on colours round as each machine likes: by a step of 8 bits, here and there.
    assert (on_gpu.cpu() - on_cpu).abs().gt(2 / 57).float().mean() < 0.01
