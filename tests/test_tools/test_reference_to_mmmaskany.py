# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import ast

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from reference_networks import MaskEfficientNetV2, MaskResNet, MaskSwin, MaskViT

import mmmaskany.models.backbones as backbones
from mmmaskany.checkpoints.format import FORMAT
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.masking import Views

# repeats, kernel, stride, expansion, in, out, squeeze and excitation
S = [
    (2, 3, 1, 1, 48, 48, None),
    (4, 3, 2, 4, 48, 48, None),
    (4, 3, 2, 4, 48, 64, None),
    (6, 3, 2, 4, 64, 128, 0.25),
    (9, 3, 1, 6, 128, 160, 0.25),
    (15, 3, 2, 6, 160, 256, 0.25),
]
TINY = [(2, 3, 1, 1, 8, 8, None), (2, 3, 2, 4, 8, 8, None), (2, 3, 2, 4, 8, 16, 0.25), (2, 3, 1, 6, 16, 24, 0.25)]


@pytest.fixture(autouse=True)
def tiny_architectures(monkeypatch):
    init_default_scope('mmpretrain')
    rows = [[*row[:6], row[6] or 0.0, 1 if row[6] else 0 if row[3] > 1 else -1] for row in TINY]
    rows.append([1, 1, 1, 1, 24, 32, 0.0, -2])
    monkeypatch.setitem(backbones.MaskEfficientNetV2.arch_settings, 'small-test', rows)
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    monkeypatch.setitem(backbones.MaskVisionTransformer.arch_zoo, 'small-test', arch)


@pytest.fixture
def convert(tool, tmp_path, capsys):
    """Convert a file's content; return the classifier of the printed config with the written weights, and both."""
    main = tool('model_converters/reference_to_mmmaskany')

    def run(content):
        source, target = tmp_path / 'reference.pth', tmp_path / 'ours.pth'
        torch.save(content, source)
        main([str(source), str(target)])
        config = ast.literal_eval(capsys.readouterr().out.partition('model = ')[2])
        weights = read_checkpoint(target)['state_dict']
        model = MODELS.build(config)
        model.load_state_dict(weights, strict=True)
        model.eval()
        return model, config, weights

    return run


NETWORKS = {
    'resnet18': (
        lambda: MaskResNet((2, 2, 2, 2), bottleneck=False),
        dict(type='mmmaskany.MaskResNet', depth=18, stem_channels=8, base_channels=8),
    ),
    'resnet50': (
        lambda: MaskResNet((3, 4, 6, 3), bottleneck=True, stem=16),
        dict(type='mmmaskany.MaskResNet', depth=50, stem_channels=16, base_channels=8),
    ),
    'vit': (MaskViT, dict(type='mmmaskany.MaskVisionTransformer', arch='small-test', img_size=64, fusion='add')),
    'vit-concat': (lambda: MaskViT(fusion='concat', patch=8, side=8), dict(patch_size=8, fusion='concat')),
    'vit-pre-logits': (lambda: MaskViT(pre_logits=24), dict(arch='small-test')),
    'vit-deit-small': (
        lambda: MaskViT(width=384, layers=12, heads=6, hidden=1536, classes=1000),
        dict(arch='deit-small', img_size=64),
    ),
    'swin': (
        MaskSwin,
        dict(
            type='mmmaskany.MaskSwinTransformer',
            arch=dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2]),
            window_size=4,
            out_indices=(1,),
            fusion='concat',
        ),
    ),
    'swin-add': (lambda: MaskSwin(fusion='add', depths=(2, 2, 1), heads=(2, 4, 4)), dict(fusion='add')),
    'swin-shrunken-windows': (
        lambda: MaskSwin(window=6, depths=(2, 2), patch=8),
        dict(stage_cfgs=[dict(window_size=6), dict(window_size=3)], patch_size=8),
    ),
    'efficientnet': (
        lambda: MaskEfficientNetV2(TINY, head=32),
        dict(type='mmmaskany.MaskEfficientNetV2', arch='small-test', fusion='add'),
    ),
    'efficientnet-concat': (lambda: MaskEfficientNetV2(TINY, head=32, fusion='concat'), dict(fusion='concat')),
    'efficientnet-s': (lambda: MaskEfficientNetV2(S), dict(arch='small', fusion='add')),
}


@pytest.mark.parametrize('name', NETWORKS)
def test_outputs_are_those_of_the_papers_layers(name, convert):
    make, expected = NETWORKS[name]
    network = make()
    height, width = (48, 48) if name == 'swin-shrunken-windows' else (64, 64) if 'vit' in name else (64, 128)
    pair = Views(torch.randn(2, 3, height, width), torch.randn(2, 3, height // 2, width // 2))
    with torch.no_grad():
        logits = network(*pair[:2])
        model, config, _ = convert(network.state)
        assert {key: config['backbone'][key] for key in expected} == expected
        torch.testing.assert_close(model(pair, mode='tensor'), logits, rtol=1e-4, atol=1e-4)
        # Both images count.
        assert not torch.allclose(network(pair[0], pair[1].flip(0)), logits, rtol=1e-2)
        assert not torch.allclose(network(pair[0].flip(0), pair[1]), logits, rtol=1e-2)


def test_a_layer_before_the_last_one_is_of_the_head(convert):
    network = MaskViT(pre_logits=24)
    network(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32))
    _, config, weights = convert(network.state)
    assert config['head'] == dict(
        type='mmpretrain.VisionTransformerClsHead', num_classes=5, in_channels=16, hidden_dim=24
    )
    assert torch.equal(weights['head.layers.pre_logits.weight'], network.state['pre_logits.fc.weight'])


@pytest.mark.parametrize(
    ('make', 'side', 'half', 'renewed'),
    [
        (lambda: MaskResNet((2, 2, 2, 2), bottleneck=False, stem=4, width=4), 225, 113, True),
        (lambda: MaskResNet((3, 4, 6, 3), bottleneck=True, stem=4, width=4), 97, 49, True),
        (lambda: MaskEfficientNetV2(TINY, head=32), 65, 33, False),  # 33 either way
        (lambda: MaskSwin(8, (2, 2, 2, 2), (1, 1, 2, 2), window=7), 224, 112, True),  # the last map is one window
        (lambda: MaskSwin(8, (2, 2, 2, 2), (1, 1, 2, 2), window=12), 384, 192, True),
        (lambda: MaskSwin(8, (2, 2), (1, 2), window=4), 32, 16, True),
        (lambda: MaskSwin(8, (2,), (2,), window=8), 64, 32, False),  # four windows
    ],
)
def test_odd_sizes_and_single_windows_in_double_precision(make, side, half, renewed, convert):
    """Nothing is resized where both stems fit, and windows are shifted even where the map is one."""
    network = make()
    pair = [torch.randn(1, 3, length, length, dtype=torch.float64) for length in (side, half)]
    with torch.no_grad():
        network(*(image.float() for image in pair))  # makes the tensors
        model, _, weights = convert(network.state)
        network.state = {
            name: value.double() if value.is_floating_point() else value for name, value in network.state.items()
        }
        logits = network(*pair)
        model.double()
        torch.testing.assert_close(model(Views(*pair), mode='tensor'), logits, rtol=0, atol=1e-11)
        # A file of format 1 keeps what it was trained with.
        old = {name: tensor for name, tensor in weights.items() if not name.endswith('_extra_state')}
        model.load_state_dict(old, strict=False)
        difference = (model(Views(*pair), mode='tensor') - logits).abs().max()
        assert difference > 1e-4 if renewed else difference < 1e-11


@pytest.fixture
def network():
    network = MaskSwin()
    network(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32))
    return network


def test_what_is_written_is_a_checkpoint_of_a_classifier(network, convert, tmp_path):
    _, _, weights = convert(network.state)
    assert sorted(read_checkpoint(tmp_path / 'ours.pth')) == ['meta', 'state_dict']
    assert read_checkpoint(tmp_path / 'ours.pth')['meta']['mmmaskany_format'] == FORMAT
    assert all(name.startswith(('backbone.', 'head.fc.')) for name in weights)
    tensors = [name for name in network.state if not name.endswith('attn_mask')]
    # Windows are shifted, and no reused image that fits is resized.
    formats = [name for name in weights if name.endswith('_extra_state')]
    assert len(weights) == len(tensors) + len(formats) and [int(weights[name]) for name in formats] == [2, 3]
    assert formats == ['backbone._extra_state', 'backbone.patch_embed.projection._extra_state']
    assert torch.equal(weights['head.fc.weight'], network.state['head.weight'])
    # It starts a training of the backbone alone, too.
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'), prefix='backbone.')
    arch = dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2])
    model = backbones.MaskSwinTransformer(arch, window_size=4, out_indices=(1,), init_cfg=init_cfg)
    model.init_weights()
    assert torch.equal(model.dual_stem.reused.projection.weight, network.state['patch_embed2.proj.weight'])


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: dict(model=state, epoch=3, optimizer=dict(lr=0.1)),
        lambda state: dict(state_dict=state),
        lambda state: {f'module.{name}': weight for name, weight in state.items()},
        lambda state: dict(model={f'module.{name}': weight for name, weight in state.items()}),
    ],
)
def test_wrapped_state_dicts(network, convert, wrap):
    _, _, weights = convert(wrap(network.state))
    assert torch.equal(weights['backbone.norm1.weight'], network.state['norm.weight'])


def test_every_tensor_that_does_not_fit_is_named(network, convert, tmp_path):
    network.state['layers.0.blocks.0.gamma_1'] = torch.ones(16)
    network.state['layers.0.blocks.0.attn.logit_scale'] = torch.ones(1)
    del network.state['layers.1.blocks.1.mlp.fc2.bias'], network.state['patch_embed2.norm.bias']
    network.state['norm.weight'] = torch.ones(7)
    message = (
        r"2 have no place \['layers\.0\.blocks\.0\.gamma_1', 'layers\.0\.blocks\.0\.attn\.logit_scale'\], 2 are "
        r"missing \['backbone\.patch_embed\.projection\.reused\.norm\.bias', 'backbone\.stages\.1\.blocks\.1\.ffn"
        r"\.layers\.1\.bias'\], 1 have another shape \['norm\.weight \(7,\) instead of \(32,\)'\]"
    )
    with pytest.raises(ValueError, match=message):
        convert(network.state)
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(epoch=3), r"must hold tensors by their names.*but holds \['epoch'\]"),
        ({'conv1.weight': torch.ones(1)}, r"of a network of the reference code.*but has \['conv1\.weight'\]"),
        (  # plain networks of torchvision and timm, and MoCo's
            {'conv1.weight': torch.ones(1), 'layer1.0.conv1.weight': torch.ones(1)},
            r"which has one of \['conv1_x2\.weight', .*but has \['conv1\.weight'",
        ),
        ({'patch_embed.proj.weight': torch.ones(1)}, r"of the reference code.*but has \['patch_embed\.proj"),
        ({'encoder_q.conv1.weight': torch.ones(1)}, r"of the reference code.*but has \['encoder_q\.conv1"),
        ({'patch_embed2.proj.weight': torch.ones(1)}, r"all tensors of its network, but 'pos_embed' is missing"),
        (dict(model=torch.nn.Linear(2, 2)), r'must hold tensors and plain values only, but also holds'),
    ],
)
def test_what_is_no_reference_checkpoint_is_refused(content, message, convert, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(content)
    assert not (tmp_path / 'ours.pth').exists()


def test_sizes_that_no_network_has(convert):
    for network, message in (
        (MaskResNet((1, 1, 1, 1), bottleneck=False), r'a MaskResNet must have the sizes of one of \[18, 34, 50'),
        (MaskViT(layers=3), r"a MaskViT must have the sizes of one of \['s', 'small'.*has \(16, 3, 32\)"),
        (MaskEfficientNetV2(TINY[:2]), r"one of \['small', 's'.*has \[\[-1, 8, 2\], \[0, 8, 2\]\]"),
    ):
        network(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32))
        with pytest.raises(ValueError, match=message):
            convert(network.state)


def test_no_file_is_overwritten(network, convert, tmp_path):
    (tmp_path / 'ours.pth').write_bytes(b'something else')
    with pytest.raises(FileExistsError, match=r'ours\.pth must not exist yet'):
        convert(network.state)
    assert (tmp_path / 'ours.pth').read_bytes() == b'something else'
