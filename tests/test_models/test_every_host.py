# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Every host of docs/backbones.md: each parameter learns, and outputs are those of another implementation.

What the reader of checkpoints knows the names of is compared in tests/test_checkpoints/test_published_names.py, DeiT
III in test_deit3.py and the paper's own networks in tests/test_tools/test_reference_to_mmmaskany.py. The table here
adds what only a test has to name. Of VAN, PVT, Mix Transformer and MSCAN neither timm nor torchvision has an
implementation.
"""

import copy
import functools
import re
import runpy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT
from torch import nn

timm = pytest.importorskip('timm')
torchvision = pytest.importorskip('torchvision')
for _library in ('mmdet', 'mmseg'):
    pytest.importorskip(f'{_library}.models')

BACKBONES = runpy.run_path(str(ROOT / 'tools/analysis_tools/backbone_table.py'))['BACKBONES']
SMALL_BEIT = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
SMALL_SWIN = dict(embed_dims=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 2])
#: Fewer layers, where the usual member takes its time.
SMALLER = {
    'BEiT-B/16': dict(arch=SMALL_BEIT, img_size=64),
    'BEiT-B/16 of mmseg': dict(embed_dims=32, num_layers=2, num_heads=2, img_size=64, out_indices=-1),
    'ViT-B/16': dict(arch='deit-tiny'),
    'ViT-B/16 of mmseg': dict(embed_dims=48, num_layers=2, num_heads=2),
    'Swin-T': dict(arch=SMALL_SWIN),
    'Swin V2-T': dict(arch=dict(SMALL_SWIN, extra_norm_every_n_blocks=0)),
    'Swin-T of mmdet': dict(embed_dims=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 2)),
    'EfficientNetV2-S': dict(arch='b0'),
}
PAPER = {
    'MaskResNet-34': dict(type='mmmaskany.MaskResNet', depth=34),
    'MaskViT-B/16': dict(type='mmmaskany.MaskVisionTransformer', arch='deit-tiny'),
    'MaskSwin-T': dict(type='mmmaskany.MaskSwinTransformer', arch=SMALL_SWIN),
    'MaskEfficientNetV2-S': dict(type='mmmaskany.MaskEfficientNetV2', arch='s'),
}
HOSTS = {
    name: dict(type='mmmaskany.MaskAny', backbone={**cfg, **SMALLER.get(name, {})}) for name, cfg in BACKBONES.items()
}
#: Parameters that no training step reaches, and why.
EXCEPTIONS = {
    'DeiT III of mmpretrain': (
        r'layers\.\d+\.ln2\.',
        'its layers apply ln1 twice: mmmaskany.DeiT3 and MaskAny mend it',
    ),
}
PLAIN = {
    'DeiT III of mmpretrain': dict(type='mmpretrain.DeiT3', arch='small'),
}


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def flat(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else [each for part in outputs for each in flat(part)]


def shaken(module):
    """Move every weight from where it starts, so that nothing is zero or one any more."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return module


def test_all_hosts_of_the_docs_are_here():
    rows = re.findall(r'^\| ([^|`]+?) \| `mm', (ROOT / 'docs/backbones.md').read_text(), flags=re.MULTILINE)
    assert rows == list(HOSTS) and len(rows) == 33


@pytest.mark.parametrize('name', [*HOSTS, *PAPER, *PLAIN])
def test_each_parameter_gets_a_gradient(name):
    """Distributed training stops at its second step where one does not."""
    network = shaken(MODELS.build(copy.deepcopy({**HOSTS, **PAPER, **PLAIN}[name])))
    network.train()
    side = 224 if 'Swin' in name else 64
    sum(level.square().sum() for level in flat(network(torch.randn(2, 3, side, side)))).backward()
    unreached, _ = EXCEPTIONS.get(name, ('$^', ''))
    idle = {key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert idle == {key for key, _ in network.named_parameters() if re.match(unreached, key)}


# ---------------------------------------------------------------------- other implementations


def in_order(theirs, ours):
    """Both have the same tensors in the same order."""
    return dict(zip(ours, list(theirs.values())[: len(ours)], strict=True))


def renamed(*rules):
    def rename(theirs, ours):
        state = {}
        for name, tensor in theirs.items():
            for pattern, new in rules:
                name = re.sub(pattern, new, name)
            state[name] = tensor
        return state

    return rename


def counted_through(theirs, ours):
    """The blocks of all stages of an MViT are numbered through."""
    blocks = dict.fromkeys(match[0] for name in theirs if (match := re.match(r'stages\.\d+\.blocks\.\d+\.', name)))
    rules = [(f'^{re.escape(block)}', f'blocks.{index}.') for index, block in enumerate(blocks)]
    rules += [('shortcut_proj_attn', 'proj'), (r'^patch_embed\.proj\.', 'patch_embed.projection.'), ('^norm', 'norm3')]
    return renamed(*rules)(theirs, ours)


def features(network, image):
    return network.forward_features(image)


#: The other implementation, its features, our config, and how its tensors become ours.
OTHERS = {
    'ResNeXt-50': (
        lambda: torchvision.models.resnext50_32x4d(),
        lambda network, image: nn.Sequential(*list(network.children())[:-2])(image),
        dict(type='mmpretrain.ResNeXt', depth=50), renamed(),
    ),
    'EfficientNetV2': (
        lambda: timm.create_model('tf_efficientnetv2_b0'), features,
        dict(type='mmpretrain.EfficientNetV2', arch='b0'), in_order,
    ),
    'MobileNetV3-Small': (
        lambda: torchvision.models.mobilenet_v3_small(), lambda network, image: network.features(image),
        dict(type='mmpretrain.MobileNetV3', arch='small'), in_order,
    ),
    'RegNetX-400MF': (
        lambda: timm.create_model('regnetx_004'), features, dict(type='mmpretrain.RegNet', arch='regnetx_400mf'),
        in_order,
    ),
    'HRNet-W18': (
        lambda: timm.create_model('hrnet_w18_small_v2'),
        lambda net, image: net.stages(net.act2(net.bn2(net.conv2(net.act1(net.bn1(net.conv1(image)))))))[-1],
        dict(
            type='mmpretrain.HRNet',
            extra={
                f'stage{index}': dict(
                    num_modules=modules, num_branches=index, block='BOTTLENECK' if index == 1 else 'BASIC',
                    num_blocks=(2,) * index,
                    num_channels=(64,) if index == 1 else tuple(18 * 2**branch for branch in range(index)),
                ) for index, modules in ((1, 1), (2, 1), (3, 3), (4, 2))
            },
        ),
        renamed(),
    ),
    'MViTv2-T': (
        lambda: timm.create_model('mvitv2_tiny', img_size=64),
        lambda network, image: network.forward_features(image).mT.unflatten(2, (2, 2)),
        dict(type='mmpretrain.MViT', arch='tiny', img_size=64), counted_through,
    ),
    'PoolFormer-S12': (
        lambda: timm.create_model('poolformer_s12'),
        lambda network, image: F.group_norm(  # as the authors; timm normalises after pooling, by a layer norm
            network.forward_features(image), 1, network.head.norm.weight, network.head.norm.bias
        ),
        dict(type='mmpretrain.PoolFormer', arch='s12'),
        renamed(
            (r'^stem\.conv', 'patch_embed.proj'), (r'layer_scale(\d)\.scale', r'layer_scale_\1'),
            (r'^stages\.(\d)\.blocks', lambda match: f'network.{2 * int(match[1])}'),
            (r'^stages\.(\d)\.downsample\.conv', lambda match: f'network.{2 * int(match[1]) - 1}.proj'),
            (r'^head\.norm', 'norm6'),
        ),
    ),
    'RepVGG-A0': (
        lambda: timm.create_model('repvgg_a0'), features, dict(type='mmpretrain.RepVGG', arch='A0'), in_order,
    ),
    'ResNeSt-50 of mmdet': (
        lambda: timm.create_model('resnest50d'), features, dict(type='mmdet.ResNeSt', depth=50), in_order,
    ),
    'CSPNeXt of mmdet': (
        lambda: timm.create_model('cspnext_tiny', norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3)), features,
        dict(type='mmdet.CSPNeXt', deepen_factor=0.167, widen_factor=0.375),
        renamed((r'^stages\.(\d)', lambda match: f'stage{int(match[1]) + 1}')),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', OTHERS)
def test_outputs_are_those_of_another_implementation(name):
    make, look, cfg, rename = OTHERS[name]
    network, host = shaken(make()), MODELS.build(cfg)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()
        network(torch.randn(4, 3, 64, 64))  # statistics under which no feature dies
        network.eval()
        theirs = {key: value for key, value in network.state_dict().items() if not key.endswith('num_batches_tracked')}
        ours = [key for key in host.state_dict() if not key.endswith('num_batches_tracked')]
        placed = rename(theirs, ours)
        assert placed.keys() >= set(ours)
        host.load_state_dict({key: placed[key] for key in ours}, strict=False)
        host.eval()
        network.double(), host.double()
        image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        expected = look(network, image)
        difference = (flat(host(image))[-1] - expected).abs().max() / expected.abs().max()
    assert expected.std() > 0 and difference < 1e-7


@pytest.mark.parametrize(('library', 'shifts'), [('mmdet', True), ('mmseg', True), ('mmpretrain', False)])
def test_where_a_map_is_one_window_libraries_shift_it_or_not(library, shifts):
    """The authors and timm do not (see test_names.py), nor does mmpretrain; MaskSwin does, as the paper's code."""
    arch = dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 1, 2, 2])
    flat_arch = {key: tuple(value) if isinstance(value, list) else value for key, value in arch.items()}
    network = MODELS.build(
        dict(type=f'{library}.SwinTransformer', **(dict(arch=arch) if library == 'mmpretrain' else flat_arch))
    )
    always, never = (MODELS.build(dict(type='mmpretrain.SwinTransformer', arch=arch, pad_small_map=p)) for p in (1, 0))
    state = shaken(network).state_dict()
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        for other in (always, never):
            missing = other.load_state_dict(state, strict=False).missing_keys
            assert all(key.endswith(('relative_position_index', 'attn_mask')) for key in missing)
        levels = []
        for each in (network, always, never):
            each.eval()
            levels.append(each(image)[-1])
    assert torch.allclose(levels[0], levels[1], atol=1e-5) == shifts
    assert torch.allclose(levels[0], levels[2], atol=1e-5) != shifts
