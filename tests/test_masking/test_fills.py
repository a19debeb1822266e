# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch

from mmmaskany.masking import ConstantFill, Fill, ImageFill, MeanFill, TokenFill

FILLS = {
    'zero': ConstantFill,
    'constant': lambda: ConstantFill(200.0),
    'channels': lambda: ConstantFill([200.0, 201.0, 202.0]),
    'mean': MeanFill,
    'token': TokenFill,
    'image': ImageFill,
}
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(params=FILLS)
def fill(request):
    torch.manual_seed(0)
    return FILLS[request.param]()


@pytest.fixture
def mask():
    """A mask of three images of 4 x 5: the left part of the first, a pixel of the second, nothing of the third."""
    mask = torch.zeros(3, 1, 4, 5, dtype=torch.bool)
    mask[0, :, :, :3] = True
    mask[1, :, 2, 4] = True
    return mask


def test_constant_by_hand():
    images = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    mask = torch.tensor([[[[True, False], [False, True]]]])
    assert ConstantFill()(images, mask).tolist() == [[[[0, 2], [3, 0]]]]
    assert ConstantFill(-1.5)(images, mask).tolist() == [[[[-1.5, 2], [3, -1.5]]]]


def test_constant_per_channel(make_images, mask):
    images = make_images(3, 4, 5)
    filled = ConstantFill([0.5, -1, 9])(images, mask)
    for channel, value in enumerate([0.5, -1, 9]):
        assert (filled[:, channel][mask[:, 0]] == value).all()
    with pytest.raises(ValueError, match='values for 2 channels, but got images of 3 channels'):
        ConstantFill([1.0, 2.0])(images, mask)


def test_constant_per_channel_is_no_part_of_a_checkpoint():
    fill = ConstantFill((1.0, 2.0, 3.0))
    assert not fill.state_dict()
    assert repr(fill) == 'ConstantFill(value=(1.0, 2.0, 3.0))'


def test_mean_is_each_images_own(make_images, mask):
    images = make_images(3, 4, 5)
    filled = MeanFill()(images, mask)
    for image, out, m in zip(images, filled, mask, strict=True):
        for channel in range(3):
            torch.testing.assert_close(out[channel][m[0]], image[channel].mean().expand(m.sum()))


def test_mean_of_integers():
    images = torch.tensor([[[[0, 255], [254, 255]]]], dtype=torch.uint8)
    mask = torch.tensor([[[[True, False], [False, False]]]])
    assert MeanFill()(images, mask).tolist() == [[[[191, 255], [254, 255]]]]


def test_token_is_learned(make_images, mask):
    fill = TokenFill(channels=2)
    with torch.no_grad():
        fill.token.copy_(torch.tensor([0.25, -0.5]).view(1, 2, 1, 1))
    images = make_images(3, 4, 5, channels=2)
    filled = fill(images, mask)
    assert (filled[:, 0][mask[:, 0]] == 0.25).all() and (filled[:, 1][mask[:, 0]] == -0.5).all()
    filled.sum().backward()
    assert fill.token.grad.flatten().tolist() == [mask.sum(), mask.sum()]
    assert list(fill.state_dict()) == ['token']


@pytest.mark.parametrize('channels', [1, 4])
def test_token_of_other_channels_is_refused(make_images, mask, channels):
    with pytest.raises(ValueError, match=f'must be that of the images, 3, but the token has {channels}'):
        TokenFill(channels)(make_images(3, 4, 5), mask)


def test_token_starts_small():
    torch.manual_seed(0)
    token = TokenFill(channels=1000).token
    assert 0.01 < token.std().item() < 0.03


@pytest.mark.parametrize('batch', [2, 3, 5])
def test_image_partner_is_never_oneself(batch):
    images = torch.arange(batch, dtype=torch.float).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    mask = torch.ones(batch, 1, 2, 2, dtype=torch.bool)
    filled = ImageFill()(images, mask)
    assert (filled != images).all()
    assert filled[:, 0, 0, 0].sort().values.tolist() == list(range(batch))  # each image is a partner once


def test_image_takes_the_same_place(make_images, mask):
    images = make_images(3, 4, 5)
    filled = ImageFill()(images, mask)
    assert torch.equal(filled[0, :, :, :3], images[2, :, :, :3])
    assert torch.equal(filled[1, :, 2, 4], images[0, :, 2, 4])


def test_image_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match='at least 2 images, but got a batch of 1'):
        ImageFill()(torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.bool))


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.half, torch.bfloat16, torch.double, torch.uint8, torch.long])
def test_only_what_is_masked_changes(fill, mask, make_images, dtype, memory_format):
    images = make_images(3, 4, 5, dtype=dtype, memory_format=memory_format)
    before = images.clone()
    for given in (mask, mask.expand(-1, 3, -1, -1).contiguous(memory_format=memory_format)):
        filled = fill(images, given)
        everywhere = mask.expand_as(images)
        assert torch.equal(filled[~everywhere], before[~everywhere])
        assert (filled != before)[everywhere].all()
        assert filled.dtype == dtype
        assert filled.is_contiguous(memory_format=memory_format)
        assert torch.equal(images, before)
        assert filled.data_ptr() != images.data_ptr()


def test_gradient_reaches_what_is_visible(mask):
    images = torch.rand(3, 3, 4, 5, requires_grad=True)
    ConstantFill()(images, mask).sum().backward()
    assert torch.equal(images.grad, (~mask).float().expand_as(images))


def test_fill_is_a_base():
    with pytest.raises(NotImplementedError):
        Fill()(torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.bool))
