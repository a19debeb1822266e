# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A second stem for networks of timm, torchvision and OpenMMLab that are built already."""

import copy
import pickle
import re
import warnings

import pytest
import torch
import torchvision
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT
from torch import nn

import mmmaskany
from mmmaskany.masking import GridPattern, Masking, TokenFill

TORCHVISION = {
    'resnet18': 'maxpool',
    'resnext50_32x4d': 'maxpool',
    'convnext_tiny': 'features.0.0',
    'vit_b_32': 'conv_proj',
    'swin_t': 'features.0.0',
    'swin_v2_t': 'features.0.0',
    'efficientnet_b0': 'features.0',
    'mobilenet_v2': 'features.0',
    'mobilenet_v3_small': 'features.0',
    'regnet_y_400mf': 'stem',
    'densenet121': 'features.pool0',
    'shufflenet_v2_x0_5': 'maxpool',
}
TIMM = {
    'resnet18': 'maxpool',
    'convnext_atto': 'stem.0',
    'vit_tiny_patch16_224': 'patch_embed.proj',
    'deit_tiny_patch16_224': 'patch_embed.proj',
    'swin_tiny_patch4_window7_224': 'patch_embed.proj',
    'tf_efficientnet_lite0': 'bn1',
    'mobilenetv2_050': 'bn1',
    'mobilenetv3_small_050': 'bn1',
    'regnetx_002': 'stem',
    'densenet121': 'features.pool0',
    'mixer_s32_224': 'stem.proj',
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def masking():
    return Masking(GridPattern(scale=0.5, cell=16))


def check(model, stem):
    model.eval()
    names, image = list(model.state_dict()), torch.randn(1, 3, 224, 224)
    parts = stem.count('.') + 1
    with torch.no_grad():
        expected = model(image)
        assert mmmaskany.wrap(model, masking=masking()) is model
        assert torch.equal(model(image), expected) and not model.training
    assert model.stem_parts[-1] == stem
    own = [name for name in model.state_dict() if not re.search(r'\.(reused\.|fusion\.|_extra_state$)', name)]
    assert [name.replace('.visible.', '.') for name in own] == names
    assert all(name in own or name.split('.')[:parts] == stem.split('.') for name in names)
    return model, image, expected


@pytest.mark.parametrize('name', TORCHVISION)
def test_torchvision(name):
    check(getattr(torchvision.models, name)(num_classes=5), TORCHVISION[name])


@pytest.mark.parametrize('name', TIMM)
def test_timm(name):
    timm = pytest.importorskip('timm')
    model, image, expected = check(timm.create_model(name, num_classes=5), TIMM[name])
    with torch.no_grad():  # as its users call it
        assert torch.equal(model.forward_head(model.forward_features(image)), expected)
    assert model.get_classifier().out_features == 5 and model.num_classes == 5
    model.reset_classifier(3)
    assert model(image).shape == (1, 3)


def test_masks_in_training_only_and_the_stem_opens():
    model = mmmaskany.wrap(torchvision.models.resnet18(num_classes=5), masking=masking())
    seen, image = [], torch.rand(2, 3, 64, 64) + 0.1
    model.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0].eq(0).float().mean().item()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(image), torch.tensor([0, 1])).backward()
    optimizer.step()
    assert not model.dual_stem.fusion.is_silent()
    model.eval()
    assert torch.equal(model(image), model(image)) and seen == [0.25, 0, 0]


def test_forward_features_masks_as_forward_does_and_keeps_nothing_after_an_error():
    timm = pytest.importorskip('timm')
    model = mmmaskany.wrap(timm.create_model('vit_tiny_patch16_224', num_classes=5), masking=masking()).train()
    nn.init.ones_(model.dual_stem.fusion.scale)
    image = torch.randn(1, 3, 224, 224)
    outputs = []
    for run in (model, lambda x: model.forward_head(model.forward_features(x))):
        torch.manual_seed(1)
        outputs.append(run(image))
    torch.testing.assert_close(*outputs)
    levels = model.eval().forward_intermediates(image, indices=1, intermediates_only=True)
    assert levels[0].shape == (1, 192, 14, 14)
    with pytest.raises(AssertionError):
        model(torch.randn(1, 3, 100, 100))
    assert model.dual_stem.reused_image is None


def test_copies_pickles_compiles_and_exports():
    model = mmmaskany.wrap(torchvision.models.resnet18(num_classes=5), masking=masking()).eval()
    nn.init.ones_(model.dual_stem.fusion.scale)
    image = torch.randn(1, 3, 64, 64)
    expected = model(image)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model) and torch.equal(other(image), expected)
    torch.testing.assert_close(torch.compile(model, backend='eager', fullgraph=True)(image), expected)
    torch.testing.assert_close(torch.export.export(model, (image,)).module()(image), expected)


def test_pyramids_do_not_run_the_masking_as_a_layer():
    from torchvision.models._utils import IntermediateLayerGetter

    plain = IntermediateLayerGetter(torchvision.models.resnet18(), {'layer2': 'a', 'layer4': 'b'}).eval()
    image = torch.randn(1, 3, 64, 64)
    expected = plain(image)
    token = Masking(GridPattern(scale=0.5, cell=16), TokenFill(3))
    model = mmmaskany.wrap(copy.deepcopy(plain), masking=token)
    assert all(torch.equal(level, expected[key]) for key, level in model(image).items())
    assert any(name.startswith('masking.') for name, _ in model.named_parameters())
    model.train()(image)['b'].sum().backward()
    timm = pytest.importorskip('timm')
    for name in ('resnet18', 'vit_tiny_patch16_224', 'convnext_atto'):
        plain = timm.create_model(name, features_only=True).eval()
        image = torch.randn(1, 3, 224, 224)
        expected = plain(image)
        model = mmmaskany.wrap(plain, masking=masking())
        assert all(torch.equal(*pair) for pair in zip(model(image), expected, strict=True))


def test_a_whole_classifier_of_openmmlab():
    init_default_scope('mmpretrain')
    head = dict(type='LinearClsHead', num_classes=5, in_channels=512)
    cfg = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18), neck=dict(type='GlobalAveragePooling'))
    model = MODELS.build(dict(cfg, head=head))
    model.eval()
    image = torch.randn(1, 3, 64, 64)
    expected = model(image)
    assert mmmaskany.wrap(model, masking=masking()) is model
    assert type(model.backbone).__name__ == 'MaskAnyResNet' and torch.equal(model(image)[0], expected[0])


def test_precision_of_the_network():
    model = torchvision.models.convnext_tiny(num_classes=5).bfloat16()
    image = torch.randn(1, 3, 64, 64, dtype=torch.bfloat16)
    assert mmmaskany.wrap(model).eval()(image).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(buffer.dtype == torch.bfloat16 for buffer in model.buffers())


@pytest.mark.parametrize(
    ('make', 'error', 'message'),
    [
        (lambda: dict(type='ResNet'), TypeError, 'takes a built network, but got dict'),
        (lambda: torch.compile(torchvision.models.resnet18()), TypeError, 'before it is compiled'),
        (lambda: nn.DataParallel(torchvision.models.resnet18()), TypeError, 'give it model.module'),
        (lambda: mmmaskany.wrap(torchvision.models.resnet18()), ValueError, 'has a second stem already'),
        (lambda: torchvision.models.vgg11(), ValueError, 'its stride is 1'),
        (lambda: torchvision.models.inception_v3(init_weights=False), ValueError, 'Name the module, as in stem='),
    ],
)
def test_what_cannot_be_wrapped(make, error, message):
    with warnings.catch_warnings(), pytest.raises(error, match=message):
        warnings.simplefilter('ignore')
        mmmaskany.wrap(make())


@pytest.mark.parametrize('library', ['timm', 'torchvision'])
def test_the_example_of_the_docs(library, capsys):
    pytest.importorskip(library)
    page = (ROOT / 'docs/deploy.md').read_text()
    (block,) = (code for code in re.findall(r'```python\n(.+?)```', page, re.DOTALL) if f', {library},' in code)
    assert len(block.strip().splitlines()) <= 15
    exec(block, {})
    assert 'differ by at most' in capsys.readouterr().out
