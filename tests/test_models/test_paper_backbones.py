# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSwin, MaskViT and MaskEfficientNetV2: what they share, and what each has of its own.

That their outputs are those of the paper's layer table is tested together with the converter of the reference code's
checkpoints, in tests/test_tools/test_reference_to_mmmaskany.py.
"""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmmaskany.masking import Views, half_size
from mmmaskany.models.backbones import MaskAny, MaskEfficientNetV2, MaskSwinTransformer, MaskVisionTransformer

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
SWIN = dict(arch=dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2]), img_size=64, window_size=4, out_indices=(0, 1))
VIT = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=64, out_indices=[0, 1]
)
EFFICIENTNET = dict(arch='tiny', out_indices=(0, 1, 2, 3, 4))
FAMILIES = {
    'SwinTransformer': (MaskSwinTransformer, SWIN),
    'VisionTransformer': (MaskVisionTransformer, VIT),
    'EfficientNetV2': (MaskEfficientNetV2, EFFICIENTNET),
}
# repeats, kernel, stride, expansion, in, out, squeeze and excitation, kind
TINY = [
    [1, 3, 1, 1, 8, 8, 0.0, -1],
    [2, 3, 2, 4, 8, 12, 0.0, 0],
    [2, 3, 2, 4, 12, 16, 0.25, 1],
    [1, 1, 1, 1, 16, 32, 0.0, -2],
]


@pytest.fixture(autouse=True)
def scope_and_tiny_efficientnet(monkeypatch):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    for network in (MaskEfficientNetV2, MODELS.get('mmpretrain.EfficientNetV2')):
        monkeypatch.setitem(network.arch_settings, 'tiny', TINY)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def make(family, **kwargs):
    network, cfg = FAMILIES[family]
    model = network(**copy.deepcopy({**cfg, **kwargs}))
    model.eval()
    return model


def plain(family, **kwargs):
    model = MODELS.build(dict(type=f'mmpretrain.{family}', **copy.deepcopy({**FAMILIES[family][1], **kwargs})))
    model.eval()
    return model


def count(backbone, channels, head='LinearClsHead'):
    head = dict(type=head, num_classes=1000, in_channels=channels)
    model = MODELS.build(dict(type='ImageClassifier', backbone=dict(backbone), head=head))
    return sum(parameter.numel() for parameter in model.parameters())


# ---------------------------------------------------------------------- the paper's layers


def test_parameter_counts_of_the_paper():
    assert count(dict(type='mmmaskany.MaskSwinTransformer', arch='tiny'), 768) == 28_286_626
    vit = dict(type='mmmaskany.MaskVisionTransformer', arch='base')
    assert count(vit, 768, 'VisionTransformerClsHead') == 86_715_880


@pytest.mark.parametrize(
    ('arch', 'table'),
    [
        (
            's',
            [
                (2, 3, 1, 48, 48, None),
                (4, 3, 4, 48, 48, None),
                (4, 3, 4, 48, 64, None),
                (6, 3, 4, 64, 128, 0.25),
                (9, 3, 6, 128, 160, 0.25),
                (15, 3, 6, 160, 256, 0.25),
            ],
        ),
        (
            'm',
            [
                (3, 3, 1, 24, 24, None),
                (5, 3, 4, 24, 48, None),
                (5, 3, 4, 48, 80, None),
                (7, 3, 4, 80, 160, 0.25),
                (14, 3, 6, 160, 176, 0.25),
                (18, 3, 6, 176, 304, 0.25),
                (5, 3, 6, 304, 512, 0.25),
            ],
        ),
    ],
)
def test_parameter_counts_of_the_stage_table(arch, table):
    """The paper's stages: repeats, kernel, expansion, in, out, squeeze and excitation."""

    def conv_bn(ins, outs, kernel, groups=1):
        return ins // groups * outs * kernel**2 + 2 * outs

    total = 2 * conv_bn(3, table[0][3], 3)
    for repeats, kernel, expansion, ins, outs, ratio in table:
        for width in (ins, *[outs] * (repeats - 1)):
            middle = expansion * width
            if ratio:
                squeezed = int(width * ratio)
                total += conv_bn(width, middle, 1) + conv_bn(middle, middle, kernel, groups=middle)
                total += middle * squeezed + squeezed + squeezed * middle + middle + conv_bn(middle, outs, 1)
            elif expansion > 1:
                total += conv_bn(width, middle, kernel) + conv_bn(middle, outs, 1)
            else:
                total += conv_bn(width, outs, kernel)
    total += conv_bn(table[-1][4], 1280, 1) + 1280 * 1000 + 1000
    assert count(dict(type='mmmaskany.MaskEfficientNetV2', arch=arch), 1280) == total


def shapes(module):
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters() if parameter.dim() > 1}


@pytest.mark.parametrize(
    ('family', 'fusion', 'expected'),
    [
        ('SwinTransformer', 'concat', [(8, 3, 4, 4), (8, 3, 2, 2)]),
        ('SwinTransformer', 'add', [(16, 3, 4, 4), (16, 3, 2, 2)]),
        ('VisionTransformer', 'add', [(16, 3, 16, 16), (16, 3, 8, 8)]),
        ('VisionTransformer', 'concat', [(8, 3, 16, 16), (8, 3, 8, 8)]),
        ('EfficientNetV2', 'add', [(8, 3, 3, 3), (8, 3, 3, 3)]),
        ('EfficientNetV2', 'concat', [(4, 3, 3, 3), (4, 3, 3, 3)]),
    ],
)
def test_both_fusions_of_the_paper_have_no_parameters(family, fusion, expected):
    model = make(family, fusion=fusion)
    assert list(shapes(model.dual_stem).values()) == expected
    assert not list(model.dual_stem.fusion.parameters())
    if family == 'SwinTransformer':
        assert model.dual_stem.visible.norm.weight.shape == model.dual_stem.reused.norm.weight.shape == expected[0][:1]
        assert model.patch_embed.norm is None
    with torch.no_grad():
        fused = {}
        model.dual_stem.register_forward_hook(lambda stem, args, out: fused.update(out=out))
        image = torch.randn(2, 3, 64, 64)
        model(image)
        parts = (model.dual_stem.visible(image), model.dual_stem.reused(half_size(image)))
        both = parts[0] + parts[1] if fusion == 'add' else torch.cat(parts, dim=1)
    assert torch.equal(fused['out'], both)


def test_the_default_fusion_is_the_papers(family):
    default, paper = make(family), make(family, fusion='concat' if family == 'SwinTransformer' else 'add')
    assert shapes(default) == shapes(paper)
    assert type(default.dual_stem.fusion) is type(paper.dual_stem.fusion)


def test_norms_of_efficientnet_have_the_papers_epsilon():
    norms = [module for module in make('EfficientNetV2').modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


def test_padding_of_efficientnet_is_the_same_on_all_sides_unless_asked_otherwise():
    assert all(
        conv.padding == (conv.kernel_size[0] // 2, conv.kernel_size[0] // 2)
        for conv in make('EfficientNetV2').modules()
        if isinstance(conv, nn.Conv2d)
    )
    model, host = make('EfficientNetV2', conv_cfg=dict(type='Conv2dAdaptivePadding')), plain('EfficientNetV2')
    stem, own = model.dual_stem.visible, host.layers[0]
    own.load_state_dict(stem.state_dict())
    image = torch.randn(1, 3, 31, 64)
    assert torch.equal(stem(image), own(image))


def test_dropout_of_the_papers_vit_is_the_hosts():
    model, host = make('VisionTransformer'), plain('VisionTransformer', drop_rate=0.15)
    rates = [[m.p for m in network.modules() if isinstance(m, nn.Dropout)] for network in (model, host)]
    assert rates[0] == rates[1] == [0.15] * len(rates[0])
    assert model.drop_after_pos.p == 0.15
    image = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(image)[-1], model(image)[-1])
    model.train()
    assert not torch.equal(model(image)[-1], model(image)[-1])


# ---------------------------------------------------------------------- images


def test_a_batch_is_the_pair_of_it_and_its_half_size(family):
    model = make(family, masking=GRID)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        outs = model(image)
        pairs = model(Views(image, half_size(image))), model(Views(image, torch.randn(2, 3, 32, 32)))
    assert all(torch.equal(out, other) for out, other in zip(outs, pairs[0], strict=True))
    assert not any(torch.equal(out, other) for out, other in zip(outs, pairs[1], strict=True))
    model.train()
    visible, reused, _ = model.views(image)
    assert visible.eq(0).float().mean().item() == 0.25 and reused.shape == (2, 3, 32, 32)
    assert not torch.equal(reused, half_size(image))


@pytest.mark.parametrize('size', [(64, 96), (50, 70), (81, 64)])
def test_any_size_gives_the_hosts_shapes(family, size):
    kwargs = dict(out_type='featmap') if family == 'VisionTransformer' else {}
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        levels = make(family, **kwargs)(image), plain(family, **kwargs)(image)
    assert [level.shape for level in levels[0]] == [level.shape for level in levels[1]]


@pytest.mark.parametrize('size', [(64, 64), (48, 96), (128, 64)])
@pytest.mark.parametrize('out_type', ['raw', 'cls_token', 'featmap', 'avg_featmap'])
def test_one_class_token_and_one_position_embedding_follow_the_fusion_as_in_the_host(size, out_type):
    kwargs = dict(out_type=out_type, img_size=(64, 96))
    model, host = make('VisionTransformer', **kwargs), plain('VisionTransformer', **kwargs)
    nn.init.normal_(model.pos_embed)
    nn.init.normal_(model.cls_token)
    assert model.pos_embed.shape == (1, 1 + 4 * 6, 16) and model.cls_token.shape == (1, 1, 16)
    fused = {}
    model.dual_stem.register_forward_hook(lambda stem, args, out: fused.update(out=out))
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        levels = model(image)
        shared = {key: value for key, value in model.state_dict().items() if '.projection.' not in key}
        host.load_state_dict(shared, strict=False)
        host.patch_embed.projection.forward = lambda x: fused['out']
        for level, other in zip(levels, host(image), strict=True):
            torch.testing.assert_close(level, other)


def test_without_class_token():
    kwargs = dict(with_cls_token=False, out_type='avg_featmap')
    model = make('VisionTransformer', **kwargs)
    assert model.pos_embed.shape == (1, 16, 16)
    assert model(torch.randn(2, 3, 64, 64))[-1].shape == (2, 16)


def test_patches_of_small_images():
    model = make('SwinTransformer', patch_size=2, img_size=32)
    assert list(shapes(model.dual_stem).values()) == [(8, 3, 2, 2), (8, 3, 1, 1)]
    assert [level.shape[1:] for level in model(torch.randn(1, 3, 32, 32))] == [(16, 16, 16), (32, 8, 8)]


def test_channels_last_is_kept(family):
    model = make(family).to(memory_format=torch.channels_last)
    seen = []
    for name in ('visible', 'reused', 'fusion'):
        getattr(model.dual_stem, name).register_forward_hook(lambda _, args, out: seen.append(out))
    model(torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last))
    assert len(seen) == 3
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated', dict(type='mmmaskany.ConcatFusion')])
def test_every_part_of_both_stems_learns(family, fusion):
    model = make(family, fusion=fusion, masking=GRID)
    model.train()
    sum(level.square().sum() for level in model(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.dual_stem.parameters())


@pytest.mark.parametrize(
    ('family', 'frozen_stages'), [('SwinTransformer', 0), ('VisionTransformer', 1), ('EfficientNetV2', 1)]
)
def test_frozen_stages_freeze_both_stems_and_their_statistics(family, frozen_stages):
    with pytest.warns(UserWarning, match='frozen_stages=-1'):
        model = make(family, frozen_stages=frozen_stages, masking=GRID)
    assert all(not parameter.requires_grad for parameter in model.dual_stem.parameters())
    model.train()
    before = copy.deepcopy(model.dual_stem.state_dict())
    model(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    assert all(parameter.grad is None for parameter in model.dual_stem.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.dual_stem.state_dict().items())
    assert any(parameter.grad is not None for parameter in model.parameters())
    assert model.training and not model.dual_stem.reused.training


@pytest.mark.parametrize('family', ['SwinTransformer', 'EfficientNetV2'])
def test_gradient_checkpointing_gives_the_same_gradients(family):
    torch.manual_seed(0)
    models = [make(family, with_cp=with_cp, drop_path_rate=0.0) for with_cp in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    image = torch.randn(2, 3, 64, 64)
    for model in models:
        model.train()
        model(image)[-1].square().sum().backward()
    for (name, parameter), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, other.grad, msg=name)


@pytest.mark.parametrize('family', ['SwinTransformer', 'VisionTransformer'])
def test_layer_decay_gives_both_stems_the_depth_of_the_hosts(family):
    model = make(family)
    names = [name for name, _ in model.named_parameters() if name.startswith('patch_embed.')]
    assert {model.get_layer_depth(name)[0] for name in names} == {0}
    assert any('.reused.' in name for name in names)


def test_init_weights_leaves_the_fusion_and_both_stems_apart(family):
    init_cfg = [dict(type='TruncNormal', layer='Conv2d', std=0.02), dict(type='Constant', layer='LayerNorm', val=0.5)]
    model = make(family, fusion=dict(type='mmmaskany.AddFusion'), init_cfg=init_cfg)
    model.init_weights()
    convs = [module for module in model.dual_stem.modules() if isinstance(module, nn.Conv2d)]
    assert all(abs(conv.weight.std().item() - 0.02) < 0.005 for conv in convs) and len(convs) == 2
    assert model.dual_stem.fusion.scale.eq(1).all()
    norms = [module for module in model.dual_stem.modules() if isinstance(module, nn.LayerNorm)]
    assert all(norm.weight.eq(0.5).all() for norm in norms) and len(norms) == (2 if 'Swin' in family else 0)


# ---------------------------------------------------------------------- checkpoints


def test_own_checkpoint_loads_completely_or_not_at_all(family):
    model, other = make(family), make(family)
    other.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(model(image)[-1], other(image)[-1])
    state = model.state_dict()
    del state[next(name for name in state if '.reused.' in name)]
    with pytest.raises(ValueError, match=r'1 are missing \(.*\.reused\.'):
        other.load_state_dict(state, strict=False)


def test_a_plain_checkpoint_is_refused_by_the_papers_fusion(family):
    with pytest.raises(ValueError, match=r'does not fit the backbone MaskSwin|cannot be silenced.*scaled=True'):
        make(family).load_state_dict(plain(family).state_dict())


def test_a_checkpoint_at_another_size_has_its_position_embedding_resized_as_in_the_host():
    model = make('VisionTransformer')
    nn.init.normal_(model.pos_embed)
    other, host = (build('VisionTransformer', img_size=(96, 128)) for build in (make, plain))
    other.load_state_dict(model.state_dict())
    host.load_state_dict({'pos_embed': model.pos_embed}, strict=False)
    assert other.pos_embed.shape == (1, 1 + 6 * 8, 16)
    assert torch.equal(other.pos_embed, host.pos_embed)
    assert torch.equal(other.dual_stem.reused.weight, model.dual_stem.reused.weight)


@pytest.mark.parametrize('family', ['VisionTransformer', 'EfficientNetV2'])
def test_a_plain_checkpoint_is_adopted_by_a_learned_fusion(family):
    kwargs = dict(conv_cfg=dict(type='Conv2dAdaptivePadding')) if family == 'EfficientNetV2' else {}
    model, host = make(family, fusion='gated', **kwargs), plain(family)
    model.load_state_dict(host.state_dict())
    image = torch.randn(1, 3, 64, 64)
    for level, other in zip(model(image), host(image), strict=True):
        torch.testing.assert_close(level, other)


# ---------------------------------------------------------------------- compilation, precision, export


def test_compiles_without_a_graph_break_and_exports(family):
    model = make(family, masking=GRID, drop_path_rate=0.2)
    image = torch.randn(2, 3, 64, 64)
    torch._dynamo.reset()  # the compilations of other tests count against its limit
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    model.train()
    compiled(image)[-1].square().sum().backward()
    assert model.dual_stem.reused.training and model.dual_stem.reused_image is None
    model.eval()
    exported = torch.export.export(model, (image,)).module()
    for level, first, second in zip(model(image), compiled(image), exported(image), strict=True):
        torch.testing.assert_close(first, level)
        torch.testing.assert_close(second, level)


def test_autocast(family):
    model = make(family, masking=GRID)
    model.train()
    with torch.autocast('cpu', torch.bfloat16):
        level = model(torch.randn(2, 3, 64, 64))[-1]
    level.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.dual_stem.parameters())
    model.eval()
    image = torch.randn(2, 3, 64, 64)
    expected = model(image)[-1]
    with torch.autocast('cpu', torch.bfloat16):
        level = model(image)[-1]
    assert (level.float() - expected).norm() < 0.03 * expected.norm()


# ---------------------------------------------------------------------- bad input


def test_bad_arguments(family):
    with pytest.raises(ValueError, match=r"fusion must be one of \['add', 'concat', 'gated'\].*but got 'sum'"):
        make(family, fusion='sum')
    with pytest.raises(TypeError, match='masking must be a config'):
        make(family, masking='grid')


def test_patches_that_cannot_be_halved():
    with pytest.raises(ValueError, match=r'of even size.*half the size, but got kernel \(15, 15\)'):
        make('VisionTransformer', patch_size=15)
    with pytest.raises(ValueError, match=r'not overlap.*but got kernel \(8, 8\), stride \(4, 4\)'):
        make('SwinTransformer', patch_cfg=dict(kernel_size=8))


def test_halves_side_by_side_need_stems_that_are_built_for_them():
    halves = dict(type='mmmaskany.ConcatFusion', projected=False)
    with pytest.raises(ValueError, match='must take the 64 channels.*takes 32: leave out projected=False'):
        MaskAny(dict(type='mmpretrain.ResNet', depth=18), fusion=halves)
    arch = dict(embed_dims=15, num_layers=1, num_heads=1, feedforward_channels=16)
    with pytest.raises(ValueError, match='must be even to be two halves side by side, but got 15'):
        make('VisionTransformer', arch=arch, fusion='concat', out_indices=-1)


def test_start_values_of_the_papers_vit():
    """Linear layers 0.01, patches sqrt(2 / (out * side^2)): 0.0032 for a patch of 16 px to 768 channels."""
    arch = dict(embed_dims=192, num_layers=2, num_heads=2, feedforward_channels=384)
    vit = MaskVisionTransformer(arch=arch)
    vit.init_weights()
    linears = [module for module in vit.layers.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 8
    for module in linears:
        assert module.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert not module.bias.any()
    for stem, side in ((vit.dual_stem.visible, 16), (vit.dual_stem.reused, 8)):
        assert stem.weight.std().item() == pytest.approx((2 / (192 * side**2)) ** 0.5, rel=0.03)
        assert not stem.bias.any()
    assert vit.pos_embed.std().item() == pytest.approx(0.02, rel=0.03)


def test_start_values_of_the_papers_vit_give_way_to_a_checkpoint(tmp_path):
    donor = make('VisionTransformer')
    torch.save(donor.state_dict(), tmp_path / 'weights.pth')
    vit = make('VisionTransformer', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')))
    vit.init_weights()
    for name, value in donor.state_dict().items():
        torch.testing.assert_close(vit.state_dict()[name], value)
    weights = {name: value.clone() for name, value in vit.state_dict().items()}
    vit.init_weights()  # done once, it does nothing
    assert all(torch.equal(value, weights[name]) for name, value in vit.state_dict().items())


def test_drop_path_of_the_papers_efficientnet():
    network = make('EfficientNetV2')
    rates = [module.drop_prob for module in network.modules() if type(module).__name__ == 'DropPath']
    assert network.drop_path_rate == 0.2 and max(rates) == pytest.approx(0.2)


def test_a_swin_of_format_1_keeps_its_windows():
    """Where a map is one window, it is shifted from format 2 on, as in the paper's code; before it was not."""
    one_window = dict(arch=dict(embed_dims=8, depths=[2], num_heads=[2]), img_size=16, window_size=4, out_indices=(0,))
    torch.manual_seed(0)
    new, host = (make('SwinTransformer', **one_window, pad_small_map=pad) for pad in (True, False))
    state = new.state_dict()
    host.load_state_dict(state)
    image = torch.randn(2, 3, 16, 16)
    assert new.format == 2 and not torch.allclose(new(image)[0], host(image)[0], atol=1e-3)

    old = make('SwinTransformer', **one_window)
    old.load_state_dict({name: tensor for name, tensor in state.items() if not name.endswith('_extra_state')})
    assert old.format == 1
    torch.testing.assert_close(old(image), host(image), rtol=0, atol=0)
    again = make('SwinTransformer', **one_window)
    again.load_state_dict(old.state_dict())  # trained on and saved anew, it is still what it was
    torch.testing.assert_close(again(image), host(image), rtol=0, atol=0)
    # A map smaller than a window runs, too.
    assert make('SwinTransformer', **one_window)(torch.randn(1, 3, 8, 8))[0].shape == (1, 8, 2, 2)
