# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskAny around the backbones of every family, each as small as its host builds it."""

import copy
import io
import warnings

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmmaskany.masking import half_size
from mmmaskany.models.backbones import MaskAny
from mmmaskany.models.stems.find import halve_kernel

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
MMSEG_BEIT = dict(type='mmseg.BEiT', img_size=64, embed_dims=16, num_layers=1, num_heads=2)
HR_STAGES = {
    f'stage{count}': dict(
        num_modules=1, num_branches=count, block='BASIC', num_blocks=(1,) * count, num_channels=(8, 16, 32, 64)[:count]
    )
    for count in (1, 2, 3, 4)
}

#: Host, its stem as found, the stride of the reused stem, and whether the stem cuts patches.
FAMILIES = {
    'ConvNeXt': (
        dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]), out_indices=(2, 3), gap_before_final_norm=False),
        ('downsample_layers.0.0',),
        2,
        True,
    ),
    'ConvNeXt v2': (
        dict(
            type='mmpretrain.ConvNeXt',
            arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16]),
            use_grn=True,
            layer_scale_init_value=0.0,
        ),
        ('downsample_layers.0.0',),
        2,
        True,
    ),
    'SwinTransformer': (
        dict(arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]), img_size=64, window_size=2),
        ('patch_embed.projection',),
        2,
        True,
    ),
    'SwinTransformerV2': (
        dict(
            arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], extra_norm_every_n_blocks=0),
            img_size=64,
            window_size=2,
        ),
        ('patch_embed.projection',),
        2,
        True,
    ),
    'VisionTransformer': (dict(arch=VIT, img_size=64), ('patch_embed.projection',), 8, True),
    'DistilledVisionTransformer': (dict(arch=VIT, img_size=64), ('patch_embed.projection',), 8, True),
    'DeiT3': (dict(type='mmmaskany.DeiT3', arch=VIT, img_size=64, patch_size=14), ('patch_embed.projection',), 7, True),
    'BEiTViT': (dict(arch=VIT, img_size=64), ('patch_embed.projection',), 8, True),
    'EfficientNet': (dict(arch='b0'), ('layers.0',), 1, False),
    'EfficientNetV2': (dict(arch='b0'), ('layers.0',), 1, False),
    'MobileNetV2': (dict(widen_factor=0.25), ('conv1',), 1, False),
    'MobileNetV3': (dict(arch='small_050'), ('layer0',), 1, False),
    'RegNet': (
        dict(arch=dict(w0=24, wa=36.0, wm=2.54, group_w=8, depth=8, bot_mul=1.0)),
        ('conv1', 'bn1', 'relu'),
        1,
        False,
    ),
    'HRNet': (dict(extra=HR_STAGES), ('conv1', 'bn1', 'relu', 'conv2', 'bn2'), 2, False),
    'VAN': (
        dict(arch=dict(embed_dims=[8, 8, 16, 16], depths=[1, 1, 1, 1], ffn_ratios=[2, 2, 2, 2])),
        ('patch_embed1.projection',),
        2,
        False,
    ),
    'MViT': (
        dict(arch=dict(embed_dims=8, num_layers=2, num_heads=1, downscale_indices=[1]), img_size=64),
        ('patch_embed.projection',),
        2,
        False,
    ),
    'PoolFormer': (
        dict(
            arch=dict(layers=[1, 1, 1, 1], embed_dims=[8, 12, 16, 20], mlp_ratios=[2] * 4, layer_scale_init_value=1.0),
            frozen_stages=-1,  # the host's default freezes the stem
        ),
        ('patch_embed.proj',),
        2,
        False,
    ),
    'RepVGG': (
        dict(
            arch=dict(num_blocks=[1, 1, 1, 1], width_factor=[0.125] * 4, group_layer_map=None, se_cfg=None),
            base_channels=64,
        ),
        ('stem',),
        1,
        False,
    ),
}
for _name, (_cfg, *_) in FAMILIES.items():
    _cfg.setdefault('type', f'mmpretrain.{_name}')
PATCHES = [name for name, (*_, patches) in FAMILIES.items() if patches]
#: What the hosts themselves take: one size only, or sizes that all their strides divide.
SIZES = {name: [(64, 64), (96, 64), (75, 93)] for name in FAMILIES} | {
    'BEiTViT': [(64, 64)],
    'HRNet': [(64, 64), (96, 64)],
}


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


@pytest.fixture(scope='module')
def hosts():
    """Plain hosts with weights as after some training: no tensor is at its initial value. Do not change them."""
    torch.manual_seed(0)
    return {name: trained(MODELS.build(copy.deepcopy(cfg))) for name, (cfg, *_) in FAMILIES.items()}


def trained(host):
    with torch.no_grad():
        for parameter in host.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in host.named_buffers():
            if name.endswith('running_mean'):
                buffer.uniform_(-0.5, 0.5)
            elif name.endswith('running_var'):
                buffer.uniform_(0.5, 1.5)
    host.eval()
    return host


def build(name, **changes):
    options = {key: changes.pop(key) for key in ('masking', 'fusion', 'init_cfg') if key in changes}
    return MaskAny(dict(copy.deepcopy(FAMILIES[name][0]), **changes), **options)


def adopt(model, host):
    # Hosts whose hooks drop what they compute anew, such as SwinTransformerV2, load without `strict` alone.
    model.load_state_dict(host.state_dict(), strict=False)
    model.eval()
    return model


def flat(outputs):
    return [level for part in outputs for level in (flat(part) if isinstance(part, (tuple, list)) else [part])]


def loss(outputs):
    return sum(level.float().square().mean() for level in flat(outputs))


# ---------------------------------------------------------------------- the stem, and adoption


@pytest.mark.parametrize('name', FAMILIES)
def test_a_plain_checkpoint_keeps_its_function_and_trains_on(name, hosts):
    _, parts, stride, patches = FAMILIES[name]
    host, model = hosts[name], build(name, masking=GRID)
    adopt(model, host)
    stem = model.dual_stem
    assert (model.stem_parts, stem.stride, bool(model.halved)) == (parts, stride, patches)
    assert stem.fusion.is_silent()
    with torch.no_grad():
        for size in SIZES[name]:
            image = torch.randn(2, 3, *size)
            expected = flat(host(image))
            assert expected
            torch.testing.assert_close(flat(model(image)), expected, rtol=0, atol=1e-5)

    # The reused stem starts from the host's weights, and masked training moves it.
    state = host.state_dict()
    before = {key: value.clone() for key, value in stem.reused.state_dict().items()}
    for key, value in before.items():
        source = state[key if len(parts) > 1 else f'{parts[-1]}.{key}']
        assert torch.equal(value, source if source.shape == value.shape else halve_kernel(source)), key
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model(torch.randn(2, 3, 64, 64))).backward()
        optimizer.step()
    moved = {key for key, value in stem.reused.named_parameters() if not torch.equal(value, before[key])}
    assert any(key.endswith('weight') for key in moved) and stem.fusion.scale.any()

    # What was trained loads again, as a whole.
    other = build(name)
    other.load_state_dict(model.state_dict(), strict=False)
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize('name', PATCHES)
def test_halved_patches_are_exact_where_pixels_come_in_fours(name, hosts):
    model = adopt(build(name), hosts[name])
    small = torch.randn(2, 3, 28, 28)
    image = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    stem = model.dual_stem
    torch.testing.assert_close(stem.reused(small), stem.visible(image), rtol=1e-4, atol=1e-5)


def test_a_halved_kernel_is_four_times_its_mean():
    kernel = torch.arange(16.0).view(1, 1, 4, 4)
    assert halve_kernel(kernel).tolist() == [[[[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]]]
    torch.testing.assert_close(halve_kernel(kernel), 4 * nn.functional.avg_pool2d(kernel, 2))


@pytest.mark.parametrize('name', FAMILIES)
def test_from_scratch_the_reused_stem_starts_like_the_hosts(name):
    model = build(name)
    model.init_weights()
    stem = model.dual_stem
    assert not stem.fusion.is_silent()
    for key, value in stem.reused.named_parameters():
        source = model.get_parameter(model._host_name(key))
        if key in model.halved:
            assert torch.equal(value, halve_kernel(source))
        elif value.dim() == 4:
            assert value.shape == source.shape
            torch.testing.assert_close(value.std(), source.std(), rtol=0.2, atol=0)
    with torch.no_grad():
        stem.reused.get_parameter(key).fill_(0.5)  # as if trained
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model.init_weights()  # the host does nothing the second time
    assert stem.reused.get_parameter(key).eq(0.5).all()


@pytest.mark.parametrize('how', ['init_cfg', 'load_checkpoint'])
@pytest.mark.parametrize('name', ['SwinTransformer', 'SwinTransformerV2', 'DeiT3', 'EfficientNetV2', 'HRNet'])
def test_adoption_of_a_classifiers_file(name, how, hosts, tmp_path):
    path = str(tmp_path / 'plain.pth')
    torch.save(dict(state_dict={f'backbone.{key}': value for key, value in hosts[name].state_dict().items()}), path)
    if how == 'init_cfg':
        model = build(name, init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'))
        model.init_weights()
    else:
        whole = nn.Module()
        whole.backbone = model = build(name)
        model.init_weights()
        load_checkpoint(whole, path)
    model.eval()
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(flat(model(image)), flat(hosts[name](image)), rtol=0, atol=1e-5)
    for key in model.halved:  # initialising has not undone it
        assert torch.equal(
            model.dual_stem.reused.get_parameter(key), halve_kernel(model.get_parameter(model._host_name(key)))
        )


@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        ('VisionTransformer', dict(img_size=96)),
        ('DeiT3', dict(img_size=98)),
        ('SwinTransformer', dict(img_size=96, use_abs_pos_embed=True)),
        ('SwinTransformerV2', dict(img_size=128, window_size=4)),
    ],
)
def test_position_embeddings_of_another_size_are_resized_by_the_host(name, changes):
    cfg = copy.deepcopy(FAMILIES[name][0])
    cfg.update({key: value for key, value in changes.items() if key == 'use_abs_pos_embed'})
    source = trained(MODELS.build(cfg))
    cfg = dict(cfg, **changes)
    plain = MODELS.build(cfg)
    plain.load_state_dict(source.state_dict(), strict=False)
    plain.eval()
    model = adopt(MaskAny(cfg), source)
    image = torch.randn(1, 3, changes['img_size'], changes['img_size'])
    torch.testing.assert_close(flat(model(image)), flat(plain(image)), rtol=0, atol=1e-5)
    # A checkpoint with a second stem is resized alike.
    own = MaskAny(copy.deepcopy(source))
    other = adopt(MaskAny(cfg, fusion='add'), own)
    assert torch.equal(other.dual_stem.reused.weight, own.dual_stem.reused.weight)
    assert not other.dual_stem.fusion.is_silent()


def test_swin_checkpoints_of_old_releases(hosts):
    state = {key.replace('norm3.', 'norm.'): value for key, value in hosts['SwinTransformer'].state_dict().items()}
    state['stages.0.blocks.0.attn_mask'] = torch.zeros(4, 4, 4)
    model = build('SwinTransformer')
    model.load_state_dict(state, strict=False)
    assert torch.equal(model.norm3.weight, hosts['SwinTransformer'].norm3.weight)


def test_norms_of_new_output_levels_are_no_gap(hosts, caplog):
    state = hosts['SwinTransformer'].state_dict()
    model = build('SwinTransformer', out_indices=(0, 1, 2, 3))
    model.load_state_dict(state, strict=False)
    assert torch.equal(model.norm3.weight, state['norm3.weight']) and model.norm0.weight.eq(1).all()
    with pytest.raises(ValueError, match=r'2 are missing \(norm3.weight, norm3.bias\)'):
        build('SwinTransformer').load_state_dict({key: value for key, value in state.items() if 'norm3' not in key})
    with pytest.raises(ValueError, match='are missing'):  # a level that has its norm, but not all of it
        model.load_state_dict({key: value for key, value in state.items() if key != 'norm3.bias'})


def test_the_norm_of_the_mean_is_no_gap_after_pretraining_without_it(hosts):
    model = build('VisionTransformer', out_type='avg_featmap', final_norm=False)
    model.load_state_dict(hosts['VisionTransformer'].state_dict(), strict=False)
    assert model.ln2.weight.eq(1).all() and torch.equal(model.pos_embed, hosts['VisionTransformer'].pos_embed)


def test_a_host_that_has_its_weights_keeps_its_function(hosts):
    host = copy.deepcopy(hosts['MobileNetV2'])
    host.is_init = True  # as TIMMBackbone(pretrained=True) and what init_weights() has initialised
    image = torch.randn(1, 3, 64, 64)
    expected = host(image)[0]
    assert torch.equal(MaskAny(host)(image)[0], expected)


# ---------------------------------------------------------------------- what the hosts do with it

CHECKPOINTING = [
    'ConvNeXt', 'SwinTransformer', 'SwinTransformerV2', 'EfficientNet', 'EfficientNetV2', 'MobileNetV2', 'MobileNetV3',
    'RegNet', 'HRNet', 'RepVGG',
]  # fmt: skip


@pytest.mark.parametrize('name', CHECKPOINTING)
def test_gradient_checkpointing_gives_the_same_gradients(name):
    model = build(name)
    other = build(name, with_cp=True)
    other.load_state_dict(model.state_dict(), strict=False)
    image = torch.randn(2, 3, 64, 64)
    for each in (model, other):
        each.train()
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # checkpoint's advice to the libraries about use_reentrant
            loss(each(image)).backward()
    gradients = dict(other.dual_stem.named_parameters())
    for key, parameter in model.dual_stem.named_parameters():
        torch.testing.assert_close(gradients[key].grad, parameter.grad, rtol=1e-3, atol=1e-6)
    assert model.dual_stem.fusion.scale.grad.any()


FREEZING = dict.fromkeys(('SwinTransformer', 'SwinTransformerV2', 'MobileNetV2', 'MobileNetV3', 'RegNet'), 0)
FREEZING |= dict.fromkeys(('VAN', 'PoolFormer', 'RepVGG'), 0)
FREEZING |= dict.fromkeys(('ConvNeXt', 'EfficientNet', 'EfficientNetV2', 'VisionTransformer', 'BEiTViT'), 1)


@pytest.mark.parametrize(('name', 'frozen_stages'), FREEZING.items())
def test_frozen_stages_freeze_the_reused_stem_and_its_statistics(name, frozen_stages):
    model = build(name, frozen_stages=frozen_stages)
    model.train()
    stem = model.dual_stem
    before = copy.deepcopy({**stem.reused.state_dict(), **stem.fusion.state_dict()})
    loss(model(torch.randn(2, 3, 64, 64))).backward()
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in stem.parameters())
    for key, value in {**stem.reused.state_dict(), **stem.fusion.state_dict()}.items():
        assert torch.equal(value, before[key]), key
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize('name', ['ConvNeXt', 'SwinTransformer', 'VisionTransformer', 'DeiT3', 'BEiTViT'])
def test_layer_decay_gives_the_reused_stem_the_rate_of_the_stem(name):
    cfg = dict(type='mmmaskany.MaskAny', backbone=FAMILIES[name][0])
    model = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=copy.deepcopy(cfg)))
    wrapper = build_optim_wrapper(
        model,
        ConfigDict(
            constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.01),
            paramwise_cfg=dict(layer_decay_rate=0.5),
        ),
    )
    groups = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    rates = {key: groups[id(parameter)] for key, parameter in model.named_parameters()}
    stem = f'backbone.{FAMILIES[name][1][-1]}'
    lowest = rates[f'{stem}.visible.weight']
    assert {rates[f'{stem}.{key}'] for key in ('reused.weight', 'reused.bias', 'fusion.scale')} == {lowest}
    assert lowest == min(rates.values()) < max(rates.values())


@pytest.mark.parametrize(
    ('host', 'scope', 'constructor'),
    [
        (FAMILIES['ConvNeXt'][0], 'mmdet', 'LearningRateDecayOptimizerConstructor'),
        (FAMILIES['ConvNeXt'][0], 'mmseg', 'LearningRateDecayOptimizerConstructor'),
        (MMSEG_BEIT, 'mmseg', 'LayerDecayOptimizerConstructor'),
    ],
)
def test_layer_decay_of_mmdet_and_mmseg(host, scope, constructor):
    pytest.importorskip(f'{scope}.engine')
    model = nn.Module()
    model.backbone = MaskAny(copy.deepcopy(host))
    paramwise = dict(num_layers=6, decay_rate=0.5, decay_type='layer_wise', layer_decay_rate=0.5)
    wrapper = build_optim_wrapper(
        model,
        ConfigDict(
            constructor=f'{scope}.{constructor}',
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.01),
            paramwise_cfg=paramwise,
        ),
    )
    groups = {id(p): group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    rates = {groups[id(parameter)] for parameter in model.backbone.dual_stem.parameters()}
    assert rates == {min(groups.values())} and min(groups.values()) < max(groups.values())


def test_checkpointing_the_whole_backbone_draws_the_same_masks_again():
    models = [build('ConvNeXt', masking=GRID) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    image = torch.randn(4, 3, 64, 64)
    for model, wrap in zip(models, (False, True), strict=True):
        model.train()
        torch.manual_seed(3)
        outputs = checkpoint(model, image, use_reentrant=False) if wrap else model(image)
        loss(outputs).backward()
    gradients = [model.dual_stem.reused.weight.grad for model in models]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_the_stem_alone_is_not_to_be_checkpointed():
    model = build('ConvNeXt')
    model.train()
    stem = model.dual_stem
    forward, stem.forward = stem.forward, lambda x: checkpoint(forward, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match='let no gradient checkpointing run the stem by itself'):
        loss(model(torch.randn(2, 3, 64, 64))).backward()


def test_repvgg_is_deployed_with_its_reused_stem(hosts):
    model = build('RepVGG')
    adopt(model, hosts['RepVGG'])
    nn.init.normal_(model.dual_stem.fusion.scale)
    image = torch.randn(2, 3, 64, 64)
    expected = model(image)[0]
    model.switch_to_deploy()
    kernels = [key for key, _ in model.dual_stem.named_parameters() if key.endswith('branch_reparam.weight')]
    assert kernels == ['visible.branch_reparam.weight', 'reused.branch_reparam.weight']
    torch.testing.assert_close(model(image)[0], expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- compiling, exporting, formats

#: One of each family.
COMPILED = (
    'ConvNeXt', 'SwinTransformer', 'VisionTransformer', 'BEiTViT', 'EfficientNetV2', 'MobileNetV2', 'RegNet', 'HRNet',
    'VAN', 'MViT', 'PoolFormer', 'RepVGG',
)  # fmt: skip


def small(name, hosts):
    """A model whose reused stem counts, of few layers, so that it compiles quickly."""
    model = adopt(build(name), hosts[name])
    nn.init.ones_(model.dual_stem.fusion.scale)
    if 'Net' in name and hasattr(model, 'layers'):
        model.layers, model.out_indices = model.layers[:2], (1,)
    return model


@pytest.mark.parametrize('name', COMPILED)
def test_compiles_without_a_graph_break_and_exports(name, hosts):
    model = small(name, hosts)
    image = torch.randn(1, 3, 64, 64)
    expected = flat(model(image))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    torch.testing.assert_close(flat(compiled(image)), expected)
    exported = torch.export.export(model, (image,)).module()
    torch.testing.assert_close(flat(exported(image)), expected)


@pytest.mark.parametrize('name', COMPILED)
def test_onnx(name, hosts):
    onnx = pytest.importorskip('onnx')  # PyTorch's exporter wants it
    from onnx.reference import ReferenceEvaluator

    model = small(name, hosts)
    image, file = torch.randn(1, 3, 64, 64), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what becomes a constant, and that another exporter is newer
        torch.onnx.export(model, (image,), file, dynamo=False, opset_version=17)
    program = onnx.load_model_from_string(file.getvalue())
    outputs = ReferenceEvaluator(program).run(None, {program.graph.input[0].name: image.numpy()})
    torch.testing.assert_close([torch.from_numpy(out) for out in outputs], flat(model(image)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', FAMILIES)
def test_autocast_and_channels_last(name, hosts):
    model = small(name, hosts).to(memory_format=torch.channels_last)
    model.train()
    image = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    seen = {}
    for part in ('visible', 'reused'):
        getattr(model.dual_stem, part).register_forward_hook(
            lambda module, inputs, output, part=part: seen.update({part: output})
        )
    with torch.autocast('cpu', torch.bfloat16):
        outputs = model(image)
    loss(outputs).backward()
    assert seen['visible'].dtype == seen['reused'].dtype == torch.bfloat16
    assert all(part.is_contiguous(memory_format=torch.channels_last) for part in seen.values())
    gradient = next(model.dual_stem.reused.parameters()).grad
    assert gradient.dtype == torch.float32 and gradient.isfinite().all() and gradient.any()


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', COMPILED)
def test_autocast_on_a_gpu(name, dtype):
    model = build(name, masking=GRID).cuda().to(memory_format=torch.channels_last)
    model.train()
    image = torch.randn(2, 3, 64, 64, device='cuda').to(memory_format=torch.channels_last)
    with torch.autocast('cuda', dtype):
        outputs = model(image)
    scaler = torch.amp.GradScaler('cuda', init_scale=256.0, enabled=dtype == torch.float16)
    scaler.scale(loss(outputs)).backward()
    gradients = [parameter.grad for parameter in model.dual_stem.parameters()]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


# ---------------------------------------------------------------------- backbones of others


@MODELS.register_module()
class UnknownBackbone(BaseModule):
    """A network whose stem nobody knows."""

    def __init__(self, stride=2, kernel=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, kernel, stride, padding=kernel // 2), nn.BatchNorm2d(8), nn.ReLU6()),
            nn.Conv2d(8, 8, 3, padding=1),
        )

    def forward(self, x):
        return (self.body(x),)


def test_a_stem_that_the_user_names():
    host = trained(UnknownBackbone())
    with pytest.raises(ValueError, match=r"stem of UnknownBackbone is not known.*as in stem='body\.0\.0'"):
        MaskAny(copy.deepcopy(host))
    model = adopt(MaskAny(dict(type='mmengine.UnknownBackbone'), stem='body.0'), host)
    assert model.stem_parts == ('body.0',) and model.dual_stem.stride == 1
    image = torch.randn(2, 3, 33, 48)
    assert torch.equal(model(image)[0], host(image)[0])
    nn.init.ones_(model.dual_stem.fusion.scale)
    # By hand: the same layers at stride 1 on the image at half size.
    conv, norm, act = copy.deepcopy(host.body[0])
    conv.stride = (1, 1)
    expected = host.body[1](host.body[0](image) + act(norm(conv(half_size(image)))))
    torch.testing.assert_close(model(image)[0], expected)


@pytest.mark.parametrize(
    ('host', 'options', 'message'),
    [
        (dict(type='mmengine.UnknownBackbone', stride=1), dict(stem='body.0'), 'its stride is 1.*fuse_at'),
        (dict(type='mmengine.UnknownBackbone'), dict(stem='body.0.1'), 'must hold a convolution, but has none'),
        (dict(type='mmengine.UnknownBackbone'), dict(stem='body.9'), "no module named 'body.9'"),
        (
            dict(type='mmengine.UnknownBackbone', kernel=3, stride=3),
            dict(stem='body.0'),
            'even patch size.*fuse_at',
        ),
        (
            dict(type='mmengine.UnknownBackbone', kernel=5, stride=3),
            dict(stem='body.0'),
            'even stride to be halved.*fuse_at',
        ),
        (
            dict(type='mmpretrain.VisionTransformer', arch=VIT, patch_size=15),
            {},
            r'even patch size.*\(15, 15\).*fuse_at',
        ),
        (
            dict(type='mmpretrain.VisionTransformer', arch=VIT),
            dict(stem='patch_embed'),
            'feature map.*it returns a tuple',
        ),
        (
            dict(type='mmpretrain.CSPDarkNet', depth=53),
            {},
            'stride is 1; name another module as `stem`, or take fuse_at',
        ),
        (dict(type='mmpretrain.T2T_ViT'), {}, "has no convolution: take fuse_at='levels'"),
        (dict(type='mmpretrain.VGG', depth=11), dict(stem='features.0'), 'its stride is 1'),
        (
            FAMILIES['MobileNetV2'][0],
            dict(fusion=dict(type='mmmaskany.ConcatFusion', channels=16)),
            'must return the 8 channels .* but got channels=16: leave it out',
        ),
    ],
)
def test_stems_and_fusions_that_do_not_fit_are_refused_when_built(host, options, message):
    with pytest.raises(ValueError, match=message):
        MaskAny(copy.deepcopy(host), **options)
    if 'fusion' not in options:
        MaskAny(copy.deepcopy(host), fuse_at='neck')  # what the message says to do instead


@pytest.mark.parametrize(
    ('host', 'part'),
    [
        (
            dict(type='SwinTransformer', embed_dims=8, depths=(1,) * 4, num_heads=(1,) * 4, window_size=2),
            'patch_embed.projection',
        ),
        (dict(type='HRNet', extra=HR_STAGES), 'bn2'),
        (dict(type='MobileNetV2', widen_factor=0.25), 'conv1'),
        (dict(type='ResNeSt', depth=50, base_channels=8, stem_channels=8), 'maxpool'),
        (dict(type='PyramidVisionTransformer', embed_dims=8, num_layers=[1] * 4), 'layers.0.0.projection'),
        (dict(type='CSPNeXt', widen_factor=0.125, deepen_factor=0.1), 'stem'),
        (
            dict(type='mmseg.VisionTransformer', img_size=64, embed_dims=16, num_layers=1, num_heads=2),
            'patch_embed.projection',
        ),
        (MMSEG_BEIT, 'patch_embed.projection'),
        (dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4), 'layers.0.0.projection'),
        (dict(type='mmseg.MSCAN', embed_dims=[8, 8, 16, 16], depths=[1] * 4), 'patch_embed1.proj'),
    ],
)
def test_backbones_of_mmdet_and_mmseg(host, part):
    scope = 'mmseg' if host['type'].startswith('mmseg.') else 'mmdet'
    pytest.importorskip(f'{scope}.models')
    host = {**host, 'type': f'{scope}.{host["type"].rpartition(".")[2]}'}
    plain = MODELS.build(copy.deepcopy(host))
    plain.init_weights()
    trained(plain)
    model = MaskAny(host)
    model.init_weights()
    for key in model.halved:
        kernel = halve_kernel(model.get_parameter(model._host_name(key)))
        assert torch.equal(model.dual_stem.reused.get_parameter(key), kernel)
    adopt(model, plain)
    assert model.stem_parts[-1] == part
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(flat(model(image)), flat(plain(image)), rtol=0, atol=1e-5)


@pytest.mark.parametrize('features_only', [False, True])
@pytest.mark.parametrize(
    'name', ['resnet18', 'efficientnet_b0', 'convnext_atto', 'vit_tiny_patch16_224', 'swin_tiny_patch4_window7_224']
)
def test_timm_backbones(name, features_only):
    pytest.importorskip('timm')
    host = dict(type='mmpretrain.TIMMBackbone', model_name=name, features_only=features_only)
    plain = trained(MODELS.build(host))
    model = adopt(MaskAny(host), plain)
    assert model.stem_parts[0].startswith('timm_model.')
    image = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(flat(model(image)), flat(plain(image)), rtol=0, atol=1e-5)
