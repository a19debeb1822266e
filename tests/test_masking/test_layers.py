# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Layer masking, layer by layer: what each gives next to hidden positions, against values worked out one by one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmaskany.masking import LayerMasking
from mmmaskany.masking.layers import MaskedLayers


class Net(nn.Module):
    """A network of one function, with a convolution, so that it is a CNN, and a global average."""

    def __init__(self, function=lambda features: features):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.function = function

    def forward(self, images):
        return F.adaptive_avg_pool2d(self.function(self.conv(images)), 1).flatten(1)


def mask_of(*shape, hidden):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[(..., *hidden)] = True
    return mask


def padded_by_neighbours(features, mask, steps):
    """Fill hidden positions one by one: each by the mean of those of its 3 x 3 neighbours that are known."""
    values = {
        (y, x): features[y, x].item() for y in range(len(features)) for x in range(features.shape[1]) if not mask[y, x]
    }
    for _ in range(steps):
        new = {}
        for y in range(len(features)):
            for x in range(features.shape[1]):
                near = [values[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if (y + i, x + j) in values]
                if (y, x) not in values and near:
                    new[y, x] = sum(near) / len(near)
        values |= new
    filled = torch.zeros_like(features)
    for place, value in values.items():
        filled[place] = value
    return filled


@pytest.mark.parametrize(
    ('kernel', 'stride', 'padding', 'dilation', 'steps'),
    [(3, 1, 1, 1, 1), (5, 1, 2, 1, 2), (3, 1, 2, 2, 2), (3, 2, 1, 1, 2), (1, 2, 0, 1, 1), (3, 1, 'same', 1, 1)],
)
def test_convolutions_see_the_mean_of_visible_neighbours(kernel, stride, padding, dilation, steps):
    torch.manual_seed(0)
    images, mask = torch.randn(1, 1, 12, 12), mask_of(1, 1, 12, 12, hidden=(slice(2, 9), slice(4, 11)))
    conv = nn.Conv2d(1, 2, kernel, stride, padding, dilation)
    with MaskedLayers(~mask) as layers:
        outputs = conv(images)
        visible = layers.at(outputs)[0, 0]
    expected = conv(padded_by_neighbours(images[0, 0], mask[0, 0], steps)[None, None])
    assert 0 < (~visible).sum() < visible.numel()
    torch.testing.assert_close(outputs[..., visible], expected[..., visible])
    assert not torch.allclose(outputs[..., visible], conv(images.masked_fill(mask, 0))[..., visible])


def test_rings_of_neighbours_by_hand():
    images, mask = torch.tensor([[[[2.0, 4.0, 9.0, 9.0, 9.0]]]]), mask_of(1, 1, 1, 5, hidden=(0, slice(2, 5)))
    layers = MaskedLayers(~mask)
    assert layers.filled(images, 0).tolist() == [[[[2, 4, 0, 0, 0]]]]
    assert layers.filled(images, 1).tolist() == [[[[2, 4, 4, 0, 0]]]]
    assert layers.filled(images, 3).tolist() == [[[[2, 4, 4, 4, 4]]]]
    square = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, torch.nan, 6.0], [7.0, 8.0, torch.inf]]]])
    layers = MaskedLayers(~mask_of(1, 1, 3, 3, hidden=([1, 2], [1, 2])))
    filled = torch.tensor([[[[1, 2, 3], [4, 31 / 7, 6], [7, 8, 7]]]])  # the last: (6 + 8) / 2
    torch.testing.assert_close(layers.filled(square, 1), filled)


def test_positions_are_visible_where_any_pixel_is():
    layers = MaskedLayers(~mask_of(1, 1, 8, 8, hidden=(slice(0, 5), slice(None))))
    assert layers.at(torch.zeros(1, 3, 4, 4))[0, 0, :, 0].tolist() == [False, False, True, True]
    assert layers.at(torch.zeros(1, 3, 2, 2))[0, 0, :, 0].tolist() == [False, True]
    with pytest.raises(ValueError, match=r'features must be of its 1 images, but a layer got .*\(2, 3, 4, 4\)'):
        layers.at(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(
    'average',
    [
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(),
        lambda x: F.avg_pool2d(x, x.shape[2:]).flatten(),
        lambda x: x.mean((2, 3)).flatten(),
        lambda x: x.mean(dim=[-1, -2], keepdim=True).flatten(),
        lambda x: torch.mean(x, (2, 3)).flatten(),
    ],
)
def test_global_averages_are_those_of_what_is_visible(average):
    images = torch.tensor([[[[1.0, torch.nan], [3.0, 8.0]]], [[[1.0, 2.0], [3.0, 4.0]]]])
    mask = torch.tensor([[[[False, True], [False, False]]], [[[False, False], [False, False]]]])
    with MaskedLayers(~mask):
        assert average(images).tolist() == [4.0, 2.5]


def test_windows_average_what_is_visible_and_keep_their_way_to_count_padding():
    images, mask = torch.arange(1.0, 17).view(1, 1, 4, 4), mask_of(1, 1, 4, 4, hidden=(slice(0, 2), slice(1, 4)))
    with MaskedLayers(~mask) as layers:
        layers.visible[2, 2] = torch.ones(1, 1, 2, 2, dtype=torch.bool)
        assert F.avg_pool2d(images, 2).tolist() == [[[[3, 0], [11.5, 13.5]]]]  # 1 and 5 of four; none of four
        counted = F.avg_pool2d(images, 3, 2, 1, count_include_pad=True)
    # The first window has 4 of its 9 positions in the image, of these 1 and 5 are visible: their mean, 4 / 9 of it.
    assert counted[0, 0, 0, 0].item() == pytest.approx(3 * 4 / 9)


def test_max_pooling_takes_the_largest_visible():
    images, mask = torch.zeros(1, 1, 8, 8), mask_of(1, 1, 8, 8, hidden=(slice(0, 5), slice(0, 5)))
    images[mask], images[0, 0, 6, 5] = 100.0, 7.0
    images -= 8  # all visible ones are negative, so that 0 would win
    with MaskedLayers(~mask) as layers:
        outputs = F.max_pool2d(images, 3, 2, 1)
        visible = layers.at(outputs)
        functional = nn.MaxPool2d(3, 2, 1)(images)
    assert torch.equal(outputs, functional)
    assert set(outputs[visible].tolist()) == {-8.0, -1.0} and outputs[0, 0, 3, 3] == -1


def test_padding_of_its_own_is_that_of_the_convolution():
    torch.manual_seed(0)
    images, mask = torch.randn(1, 3, 12, 12), mask_of(1, 1, 12, 12, hidden=(slice(0, 6), slice(5, 12)))
    conv, padless = nn.Conv2d(3, 4, 5, 2, 2), nn.Conv2d(3, 4, 5, 2, 0)
    padless.load_state_dict(conv.state_dict())
    pool, bare = nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 0)
    with MaskedLayers(~mask):
        torch.testing.assert_close(padless(F.pad(images, (2, 2, 2, 2))), conv(images))
        torch.testing.assert_close(bare(F.pad(images, (1, 1, 1, 1), value=-torch.inf)), pool(images))
        reflecting = nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect')(images)
        images[mask.expand_as(images)] = torch.nan
        assert padless(F.pad(images, (1, 2, 1, 2))).isfinite().all() and reflecting.isfinite().all()


@pytest.mark.parametrize('mode', ['nearest', 'bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(24, 24), (5, 7), 17])
def test_interpolation_sees_no_hidden_position(mode, size):
    images, mask = torch.randn(1, 2, 12, 12), mask_of(1, 1, 12, 12, hidden=(slice(3, 12), slice(0, 9)))
    outputs = []
    for value in (0.0, torch.nan):
        with MaskedLayers(~mask) as layers:
            outputs.append(F.interpolate(images.masked_fill(mask, value), size, mode=mode))
    visible = layers.at(outputs[0]).expand_as(outputs[0])
    assert torch.equal(outputs[0][visible], outputs[1][visible]) and not visible.all()
    with MaskedLayers(torch.ones_like(mask)):
        assert torch.equal(nn.Upsample(scale_factor=2)(images), F.interpolate(images, (24, 24)))
    constant = torch.full_like(images, 3.0)  # so no 0 of what is hidden is mixed in
    with MaskedLayers(~mask):
        assert (F.interpolate(constant, size, mode=mode, antialias=mode != 'nearest')[visible] - 3).abs().max() < 1e-5


@pytest.mark.parametrize('affine', [True, False])
def test_batch_norms_in_training_take_statistics_of_visible_positions(affine):
    torch.manual_seed(0)
    images, mask = torch.randn(3, 2, 4, 4), torch.rand(3, 1, 4, 4) < 0.5
    norm, plain = (nn.BatchNorm2d(2, momentum=0.3, affine=affine) for _ in range(2))
    if affine:
        for each in (norm, plain):
            nn.init.constant_(each.weight, 2.0)
            nn.init.constant_(each.bias, 0.5)
    seen, alone = images.masked_fill(mask, 1e4).requires_grad_(), images.requires_grad_()
    with MaskedLayers(~mask):
        outputs = norm(seen)
    chosen = ~mask.expand_as(images)
    values = alone.transpose(0, 1)[chosen.transpose(0, 1)].view(2, -1).T  # (N, C): what is visible, alone
    expected = plain(values[..., None, None])[..., 0, 0]
    got = outputs.transpose(0, 1)[chosen.transpose(0, 1)].view(2, -1).T
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == 1
    weights = torch.randn_like(got)
    (got * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(seen.grad[chosen], alone.grad[chosen])
    assert (seen.grad[~chosen] == 0).all()


def test_batch_norms_in_evaluation_are_left_alone():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean.fill_(3.0)
    images, mask = torch.randn(1, 2, 4, 4), mask_of(1, 1, 4, 4, hidden=(0, 0))
    with MaskedLayers(~mask):
        assert torch.equal(norm(images), F.batch_norm(images, norm.running_mean, norm.running_var))
    assert norm.running_mean.tolist() == [3, 3]


def test_nothing_of_the_network_is_changed():
    model = nn.Sequential(Net(), nn.Dropout()).train()
    model[1].eval()
    layers = LayerMasking(model)
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert not any(module._forward_hooks for module in model.modules())
    images = torch.randn(2, 1, 8, 8)
    before, mask = images.clone(), mask_of(2, 1, 8, 8, hidden=(0, 0))
    with pytest.raises(RuntimeError, match='stop'), layers.masked(images, mask):
        raise RuntimeError('stop')
    assert torch.equal(model(images), Net.forward(model[0], images)) and torch.equal(images, before)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ('function', 'what'),
    [
        (nn.GroupNorm(1, 1), 'function` (GroupNorm)'),
        (nn.InstanceNorm2d(1), 'function` (InstanceNorm2d)'),
        (nn.AdaptiveMaxPool2d(1), 'function` (AdaptiveMaxPool2d)'),
        (lambda x: x * x.flatten(1).softmax(1).amax(1).view(-1, 1, 1, 1), 'another layer'),
        (nn.ConvTranspose2d(1, 1, 3, 2), 'function` (ConvTranspose2d)'),
        (lambda x: x.roll(1, 2), 'another layer'),
        (lambda x: x[:, :, 3:], 'another layer'),
        (nn.Sequential(nn.Flatten(), nn.Linear(4096, 4), nn.Unflatten(1, (1, 2, 2))), 'function.1` (Linear)'),
    ],
)
def test_what_else_looks_at_several_positions_is_refused(function, what):
    with pytest.raises(
        ValueError, match='nothing but convolutions, max and average pooling, interpolation and batch'
    ) as error:
        LayerMasking(Net(function))
    assert str(error.value).endswith(
        f'such as ResNet, RegNet, DenseNet, MobileNet, EfficientNet and ConvNeXt with '
        f'global average pooling, but in Net {"`" if "`" in what else ""}{what} does'
    )


class Unaligned(nn.Module):
    """Two strided paths of which one begins a position further on, as cells that are searched for have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 4, 4)
        self.paths = nn.ModuleList([nn.Conv2d(4, 2, 1, 2), nn.Conv2d(4, 2, 1, 2)])

    def forward(self, images):
        features = self.stem(images).relu()
        paths = self.paths[0](features), self.paths[1](F.pad(features, (0, 1, 0, 1))[:, :, 1:, 1:])
        return torch.cat(paths, 1).mean((2, 3))


def average(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize('size', [(64, 64), (96, 96), (48, 80), (192, 192)], ids=str)
@pytest.mark.parametrize(
    'model',
    [
        average(nn.Conv2d(1, 4, 4, 4), nn.ReLU(), nn.PixelUnshuffle(2), nn.Conv2d(16, 1, 1)),
        average(nn.Conv2d(1, 8, 3, padding=1), nn.ReflectionPad2d(1), nn.ReLU(), nn.Conv2d(8, 8, 3)),
        average(nn.Conv2d(1, 8, 1), nn.ZeroPad2d(2), nn.ZeroPad2d(1), nn.Conv2d(8, 8, 7)),
        Unaligned(),
        Net(lambda x: torch.where(x > 0, x, 0).flatten(1).sum(1).view(-1, 1, 1, 1) + x),
        Net(lambda x: x + torch.nan_to_num(x).sum((2, 3), keepdim=True)),
    ],
    ids=['shuffle', 'reflection', 'two paddings', 'unaligned', 'where', 'nan_to_num'],
)
def test_what_is_off_the_grid_or_tells_nan_from_numbers_is_refused(model, size):
    with pytest.raises(ValueError, match='nothing but convolutions, max and average pooling, interpolation and batch'):
        LayerMasking(model, size)


def test_each_size_of_images_is_tried():
    layers = LayerMasking(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 1, 1), nn.Flatten()), (8, 8))
    assert layers.tried == {(8, 8)}
    with layers.masked(torch.rand(1, 1, 16, 12), mask_of(1, 1, 16, 12, hidden=(0, 0))):
        assert layers.tried == {(8, 8), (16, 12)}

    class Flat(nn.Module):
        """A linear layer on all positions: at 8 px there is one, which it may see."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 8, 8)

        def forward(self, images):
            features = self.conv(images).flatten(1)
            return features @ torch.ones(features.shape[1], 3)

    layers = LayerMasking(Flat(), (8, 8))
    with (
        pytest.raises(ValueError, match='but in Flat another layer does'),
        layers.masked(torch.rand(1, 1, 16, 16), mask_of(1, 1, 16, 16, hidden=(slice(8), slice(8)))),
    ):
        pass


def test_networks_that_cannot_be_tried_are_refused():
    class Broken(Net):
        def forward(self, images):
            return super().forward(images) * torch.inf

    class Silent(Net):
        def forward(self, images):
            return None

    class Two(Net):
        def forward(self, images, meta):
            return super().forward(images)

    for model, match in (
        (nn.Linear(3, 3), 'but Linear has no Conv2d'),
        (
            Net(lambda x: x.view(-1, 1, 32, 32)[:4].reshape(4, 1, 8, 16, 8).view(9)),
            'with images of 64 x 64 px alone, Net fails',
        ),
        (Broken(), 'Broken must return finite numbers, but does not without a mask'),
        (Silent(), 'Silent must return tensors, but returns none'),
        (Two(), r"images of 64 x 64 px alone, Two fails \(TypeError: .*'meta'"),
    ):
        with pytest.raises(ValueError, match=match):
            LayerMasking(model)
    for model, kind in (
        ('resnet18', 'str'),
        (torch.compile(Net()), 'OptimizedModule'),
        (torch.jit.trace(Net(), torch.rand(1, 1, 4, 4)), 'TopLevelTracedModule'),
    ):
        with pytest.raises(TypeError, match=f'but got {kind}'):
            LayerMasking(model)
    compiled = Net()
    compiled.compile()
    with pytest.raises(TypeError, match='before it is compiled or scripted, but got Net'):
        LayerMasking(compiled)


def test_masks_that_do_not_fit_are_refused():
    layers, images = LayerMasking(Net().eval()), torch.rand(2, 1, 8, 8)
    for mask, kind, match in (
        (torch.zeros(2, 1, 8, 8), TypeError, 'tensor of bools, True = masked, but got torch.float32'),
        ([[True]], TypeError, 'but got list'),
        (mask_of(1, 1, 8, 8, hidden=(0, 0)), ValueError, r'for images of shape \(2, 1, 8, 8\), but got \(1, 1, 8, 8\)'),
        (mask_of(2, 1, 8, 4, hidden=(0, 0)), ValueError, r'but got \(2, 1, 8, 4\)'),
        (torch.tensor([True, False]).view(2, 1, 1, 1).expand(2, 1, 8, 8), ValueError, 'must have a visible pixel'),
    ):
        with pytest.raises(kind, match=match), layers.masked(images, mask):
            pass


def test_what_does_not_go_with_training_is_refused_there():
    again, timm, synced = Net(), Net(), nn.Sequential(nn.Conv2d(1, 1, 1), nn.SyncBatchNorm(1))
    again.with_cp = timm.grad_checkpointing = True
    images, mask = torch.rand(2, 1, 8, 8), mask_of(2, 1, 8, 8, hidden=(0, 0))
    for model, match in (
        (nn.Sequential(again), r'needs with_cp=False, but `0` \(Net\) has with_cp=True: it runs again'),
        (timm, 'needs grad_checkpointing=False'),
        (synced, r'needs batch norms of each process \(BN\) in training, but `1` is a SyncBatchNorm'),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.InstanceNorm2d(1, track_running_stats=True)), '`1` is a InstanceNorm2d'),
    ):
        layers = LayerMasking(model)
        with pytest.raises(ValueError, match=match), layers.masked(images, mask):
            pass
        model.eval()
        with layers.masked(images, mask) as visible:
            assert model(visible).isfinite().all()
