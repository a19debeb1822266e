# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What publishers call the tensors of a network, and what OpenMMLab's libraries call them.

Each :class:`Naming` turns the names of one publisher into those of mmpretrain's backbone (mmdet and mmseg have the same
where they have the network), and a few tensors where mmpretrain stores them otherwise: Swin's merging of patches,
CLIP's tokens. Names alone decide; :func:`mmmaskany.checkpoints.reading.place` finds out whether the result fits.
mmpretrain's own converters (``.mim/tools/model_converters``) do the same for some of them, file to file; the tests
compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


class Naming(NamedTuple):
    """How a publisher calls the tensors of a family of networks.

    Args:
        source (str): Who calls them so.
        anchor (str): A tensor that every network of the family has, and no other naming.
        rules (Sequence[tuple[str, str | Callable]]): Regular expressions and what replaces them, one after the other.
        finish (Callable | None): Called with the renamed tensors and those of the host, for what is more than a name.
    """

    source: str
    anchor: str
    rules: Sequence[tuple[str, str | Callable]]
    finish: Callable[[Tensors, Mapping[str, Tensor]], Tensors] | None = None

    def __call__(self, tensors: Mapping[str, Tensor], host: Mapping[str, Tensor]) -> Tensors:
        """Rename tensors.

        Args:
            tensors (Mapping[str, Tensor]): The publisher's, by its names.
            host (Mapping[str, Tensor]): Those of the host, the network that takes them, by its names.

        Returns:
            dict[str, Tensor]: By the host's names, as far as there are such.
        """
        renamed = {}
        for name, tensor in tensors.items():
            for pattern, new in self.rules:
                name = re.sub(pattern, new, name)
            renamed[name] = tensor
        return self.finish(renamed, host) if self.finish else renamed


# ---------------------------------------------------------------------- vision transformers


def _finish_vit(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    positions = tensors.get('pos_embed')
    if positions is not None and 'cls_token' in host and positions.dim() == 3 and _without_class(tensors, host):
        # DeiT-III adds no position to the class token: to a ViT that adds one to every token, that is a zero.
        tensors['pos_embed'] = torch.cat([torch.zeros_like(positions[:, :1]), positions], 1)
    bias = 'patch_embed.projection.bias'
    if bias in host and bias not in tensors and 'patch_embed.projection.weight' in tensors:  # CLIP's has none
        tensors[bias] = torch.zeros(len(tensors['patch_embed.projection.weight']))
    if 'layers.0.gamma_1' in host:  # BEiT's
        tensors = {
            name.replace('.attn.gamma1.weight', '.gamma_1').replace('.ffn.gamma2.weight', '.gamma_2'): tensor
            for name, tensor in tensors.items()
        }
    if 'layers.0.attn.attn.in_proj_weight' in host:  # mmseg's ViT
        return {
            name.replace('.attn.qkv.', '.attn.attn.in_proj_').replace('.attn.proj.', '.attn.attn.out_proj.'): tensor
            for name, tensor in tensors.items()
        }
    return tensors


def _without_class(tensors: Mapping[str, Tensor], host: Mapping[str, Tensor]) -> bool:
    """Tell whether positions are of a square of patches alone, and the host's of such a square and a class token."""
    if 'dist_token' in tensors or 'dist_token' in host or 'pos_embed' not in host:
        return False
    given, own = tensors['pos_embed'].shape[1], host['pos_embed'].shape[1]
    return _is_square(given) and not _is_square(given - 1) and (own == given + 1 or not _is_square(own))


def _is_square(number: int) -> bool:
    return number > 0 and round(number**0.5) ** 2 == number


def _finish_tokens(tensors: Tensors) -> Tensors:
    """Give tokens and their positions the three sides that they have everywhere but in CLIP."""
    for name in ('cls_token', 'pos_embed'):
        if name in tensors:
            tensors[name] = tensors[name][(None,) * (3 - tensors[name].dim())]
    return tensors


def _finish_clip(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    return _finish_vit(_finish_tokens(tensors), host)


_VIT = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^norm_pre\.', 'pre_norm.'),
    (r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.'),  # DINOv2 in training: chunks of blocks
    (r'^blocks\.', 'layers.'),
    (r'^(layers\.\d+\.)norm([12])\.', r'\1ln\2.'),
    (r'^(layers\.\d+\.)mlp\.fc1\.', r'\1ffn.layers.0.0.'),
    (r'^(layers\.\d+\.)mlp\.fc2\.', r'\1ffn.layers.1.'),
    (r'^(layers\.\d+\.)mlp\.(w12|w3)\.', r'\1ffn.\2.'),
    (r'^(layers\.\d+\.)(ls1\.gamma|gamma_1)$', r'\1attn.gamma1.weight'),
    (r'^(layers\.\d+\.)(ls2\.gamma|gamma_2)$', r'\1ffn.gamma2.weight'),
    (r'^norm\.', 'ln1.'),
    (r'^fc_norm\.', 'ln2.'),
)
_CLIP = (
    (r'^conv1\.', 'patch_embed.projection.'),
    (r'^class_embedding$', 'cls_token'),
    (r'^positional_embedding$', 'pos_embed'),
    (r'^ln_pre\.', 'pre_norm.'),
    (r'^ln_post\.', 'ln1.'),
    (r'^transformer\.resblocks\.', 'layers.'),
    (r'\.ln_([12])\.', r'.ln\1.'),
    (r'\.attn\.in_proj_', '.attn.qkv.'),
    (r'\.attn\.out_proj\.', '.attn.proj.'),
    (r'\.mlp\.c_fc\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.c_proj\.', '.ffn.layers.1.'),
)
_TORCHVISION_VIT = (
    (r'^conv_proj\.', 'patch_embed.projection.'),
    (r'^class_token$', 'cls_token'),
    (r'^encoder\.pos_embedding$', 'pos_embed'),
    (r'^encoder\.ln\.', 'ln1.'),
    (r'^encoder\.layers\.encoder_layer_', 'layers.'),
    (r'\.ln_([12])\.', r'.ln\1.'),
    (r'\.self_attention\.in_proj_', '.attn.qkv.'),
    (r'\.self_attention\.out_proj\.', '.attn.proj.'),
    (r'\.mlp\.(0|linear_1)\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.(3|linear_2)\.', '.ffn.layers.1.'),
)

# ---------------------------------------------------------------------- Swin


def _last_norm(tensors: Tensors, stage: str) -> Tensors:
    """Call the last norm after its stage, as the libraries do."""
    stages = [int(match[1]) for name in tensors if (match := re.match(stage, name))]
    return {re.sub(r'^norm\.', f'norm{max(stages, default=3)}.', name): tensor for name, tensor in tensors.items()}


def _finish_swin(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    def merges_at(names: Mapping[str, Tensor], stage: int) -> bool:
        return f'stages.{stage}.downsample.reduction.weight' in names

    # Swin's authors merge patches at the end of a stage, timm at the start of the next one.
    shift = merges_at(host, 0) - merges_at(tensors, 0)
    renamed = {}
    for name, tensor in _last_norm(tensors, r'stages\.(\d+)\.').items():
        if match := re.fullmatch(r'stages\.(\d+)\.downsample\.(.+)', name):
            name = f'stages.{int(match[1]) - shift}.downsample.{match[2]}'
            norm_first = len(tensor) == tensors[f'stages.{match[1]}.downsample.reduction.weight'].shape[1]
            if match[2] == 'reduction.weight' or norm_first:
                tensor = _unfold_order(tensor)
        renamed[name] = tensor
    return renamed


def _unfold_order(tensor: Tensor) -> Tensor:
    """Reorder the channels of four merged patches from Swin's to that of ``nn.Unfold``, which the libraries use.

    Source: ``swin_converter`` of mmdet 3.3.
    """
    four = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return four.transpose(-1, -2).flatten(-2)


_SWIN_BLOCK = (
    (r'\.attn\.(?!w_msa\.)', '.attn.w_msa.'),
    (r'\.mlp\.(fc1|0)\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.(fc2|3)\.', '.ffn.layers.1.'),
)
_SWIN = ((r'^patch_embed\.proj\.', 'patch_embed.projection.'), (r'^layers\.', 'stages.'), *_SWIN_BLOCK)


def _finish_torchvision_swin(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    renamed = {}
    for name, tensor in tensors.items():
        if match := re.match(r'features\.(\d+)\.(.*)', name):
            place, rest = int(match[1]), match[2]
            name = f'stages.{(place - 1) // 2}.' + (f'blocks.{rest}' if place % 2 else f'downsample.{rest}')
        if name.endswith('w_msa.qkv.bias') and name.replace('qkv.bias', 'q_bias') in host:  # V2
            query, _, value = tensor.chunk(3)
            renamed |= {name.replace('qkv.bias', 'q_bias'): query, name.replace('qkv.bias', 'v_bias'): value}
            continue
        renamed[name] = tensor
    return _finish_swin(renamed, host)


_TORCHVISION_SWIN = (
    (r'^features\.0\.0\.', 'patch_embed.projection.'),
    (r'^features\.0\.2\.', 'patch_embed.norm.'),
    *_SWIN_BLOCK,
)

# ---------------------------------------------------------------------- ConvNeXt


def _finish_convnext(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    return _last_norm(tensors, r'stages\.(\d+)\.')


def _finish_torchvision_convnext(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    renamed = {}
    for name, tensor in tensors.items():
        if match := re.match(r'features\.(\d+)\.(.*)', name):
            place, rest = int(match[1]), match[2]
            name = f'stages.{place // 2}.{rest}' if place % 2 else f'downsample_layers.{place // 2}.{rest}'
        renamed[name] = tensor
    return _finish_convnext(renamed, host)


_CONVNEXT = (
    (r'^(stages\.\d+\.\d+\.)dwconv\.', r'\1depthwise_conv.'),
    (r'^(stages\.\d+\.\d+\.)pwconv([12])\.', r'\1pointwise_conv\2.'),
)
_TIMM_CONVNEXT = (
    (r'^stem\.', 'downsample_layers.0.'),
    (r'^stages\.(\d+)\.downsample\.', r'downsample_layers.\1.'),
    (r'^stages\.(\d+)\.blocks\.', r'stages.\1.'),
    (r'\.conv_dw\.', '.depthwise_conv.'),
    (r'\.mlp\.fc([12])\.', r'.pointwise_conv\1.'),
    (r'\.mlp\.grn\.weight$', '.grn.gamma'),
    (r'\.mlp\.grn\.bias$', '.grn.beta'),
    (r'^(head\.norm|norm_pre)\.', 'norm.'),
)
_TORCHVISION_CONVNEXT = (
    (r'\.layer_scale$', '.gamma'),
    (r'\.block\.0\.', '.depthwise_conv.'),
    (r'\.block\.2\.', '.norm.'),
    (r'\.block\.3\.', '.pointwise_conv1.'),
    (r'\.block\.5\.', '.pointwise_conv2.'),
    (r'^classifier\.0\.', 'norm.'),
)

# ---------------------------------------------------------------------- convolutional networks

_RESNET_D = (
    (r'^conv1\.([036])\.', lambda match: f'stem.{int(match[1]) // 3}.conv.'),
    (r'^conv1\.([14])\.', lambda match: f'stem.{int(match[1]) // 3}.bn.'),
    (r'^bn1\.', 'stem.2.bn.'),
)


def _finish_resnet_d(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    # timm has a layer for the pooling of each shortcut, mmpretrain only where it pools.
    def shift(match: re.Match) -> str:
        pools = f'{match[1]}0.weight' not in host
        return f'{match[1]}{int(match[2]) - (not pools)}.'

    return {re.sub(r'^(layer\d\.0\.downsample\.)([12])\.', shift, name): each for name, each in tensors.items()}


def _blocks_of(names: Mapping[str, Tensor], pattern: str) -> list[str]:
    """List the blocks of a network in their order, by what their names begin with."""
    places = {tuple(map(int, match.groups())): match[0] for name in names if (match := re.match(pattern, name))}
    return [places[place] for place in sorted(places)]


def _finish_efficientnet(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    """Turn efficientnet_pytorch's names, blocks counted through, into timm's or mmpretrain's, blocks in stages."""
    timm = 'conv_stem.weight' in host
    blocks = _blocks_of(host, r'blocks\.(\d+)\.(\d+)\.' if timm else r'layers\.(\d+)\.(\d+)\.')
    last = max((int(match[1]) for name in host if (match := re.match(r'layers\.(\d+)\.', name))), default=0)
    renamed = {}
    for name, tensor in tensors.items():
        match = re.match(r'_blocks\.(\d+)\.(.*)', name)
        if match and int(match[1]) < len(blocks):
            block, rest = blocks[int(match[1])], match[2]
            expands = f'_blocks.{match[1]}._expand_conv.weight' in tensors
            part, _, leaf = rest.partition('.')
            name = f'{block}{_timm_part(part, expands) if timm else _MM_PARTS.get(part, part)}.{leaf}'
        elif not match:
            part, _, leaf = name.partition('.')
            top = _TIMM_TOP if timm else {key: value.format(last=last) for key, value in _MM_TOP.items()}
            name = f'{top.get(part, part)}.{leaf}'
        renamed[name] = tensor
    return renamed


def _timm_part(part: str, expands: bool) -> str:
    if expands:  # InvertedResidual
        return {
            '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2',
            '_se_reduce': 'se.conv_reduce', '_se_expand': 'se.conv_expand', '_project_conv': 'conv_pwl', '_bn2': 'bn3',
        }.get(part, part)  # fmt: skip
    return {  # DepthwiseSeparableConv
        '_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_se_reduce': 'se.conv_reduce', '_se_expand': 'se.conv_expand',
        '_project_conv': 'conv_pw', '_bn2': 'bn2',
    }.get(part, part)  # fmt: skip


_MM_PARTS = {
    '_expand_conv': 'expand_conv.conv', '_bn0': 'expand_conv.bn', '_depthwise_conv': 'depthwise_conv.conv',
    '_bn1': 'depthwise_conv.bn', '_se_reduce': 'se.conv1.conv', '_se_expand': 'se.conv2.conv',
    '_project_conv': 'linear_conv.conv', '_bn2': 'linear_conv.bn',
}  # fmt: skip
_TIMM_TOP = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'classifier'}
_MM_TOP = {
    '_conv_stem': 'layers.0.conv', '_bn0': 'layers.0.bn',
    '_conv_head': 'layers.{last}.conv', '_bn1': 'layers.{last}.bn',
}  # fmt: skip


def _finish_timm_efficientnet(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    """Turn timm's names into mmpretrain's, by way of efficientnet_pytorch's."""
    blocks = {block: index for index, block in enumerate(_blocks_of(tensors, r'blocks\.(\d+)\.(\d+)\.'))}
    parts = {expands: {_timm_part(part, expands): part for part in _MM_PARTS} for expands in (False, True)}
    tops = {timm: own for own, timm in _TIMM_TOP.items()}
    flat = {}
    for name, tensor in tensors.items():
        match = re.match(r'(blocks\.\d+\.\d+\.)(.*)', name)
        start, rest = (match[1], match[2]) if match else ('', name)
        part, _, leaf = rest.rpartition('.')
        if match:
            known = parts[f'{start}conv_pwl.weight' in tensors]
            flat[f'_blocks.{blocks[start]}.{known.get(part, part)}.{leaf}'] = tensor
        else:
            flat[f'{tops.get(part, part)}.{leaf}'] = tensor
    return _finish_efficientnet(flat, host)


def _finish_torchvision_mobilenet(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    blocks = _blocks_of(host, r'layer(\d+)\.(\d+)\.')
    renamed = {}
    for name, tensor in tensors.items():
        match = re.match(r'features\.(\d+)\.(.*)', name)
        if match:
            place, rest = int(match[1]), match[2]
            if 1 <= place <= len(blocks):
                parts = rest.split('.')  # conv.0.0: conv, conv.0.1: bn; the last two have no folder of their own
                if parts[2].isdigit():
                    new = f'conv.{parts[1]}.{("conv", "bn")[int(parts[2])]}'
                else:
                    last = max(int(key.split('.')[3]) for key in tensors if key.startswith(f'features.{place}.conv.'))
                    new = f'conv.{last - 1}.{"bn" if int(parts[1]) == last else "conv"}'
                name = f'{blocks[place - 1]}{new}.{parts[-1]}'
            elif place in (0, len(blocks) + 1):
                new = ('conv', 'bn')[int(rest[0])]
                name = f'{"conv2" if place else "conv1"}.{new}.{rest.rpartition(".")[2]}'
        renamed[name] = tensor
    return renamed


def _finish_torchvision_mobilenet_v3(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    last = max(int(match[1]) for name in tensors if (match := re.match(r'features\.(\d+)\.', name)))
    convs = {}  # of each block, in their order: to expand where it does, for each channel, to project
    for name in tensors:
        if match := re.match(r'features\.(\d+)\.block\.(\d+)\.0\.weight$', name):
            convs.setdefault(match[1], []).append(match[2])
    renamed = {}
    for name, tensor in tensors.items():
        if match := re.match(r'features\.(\d+)\.block\.(\d+)\.(\w+)\.(.*)', name):
            place, part, inner, leaf = match.groups()
            if inner.startswith('fc'):
                new = f'se.conv{inner[2:]}.conv'
            else:
                part = ('expand_conv', 'depthwise_conv', 'linear_conv')[convs[place].index(part) - len(convs[place])]
                new = f'{part}.{("conv", "bn")[int(inner)]}'
            name = f'layer{place}.{new}.{leaf}'
        elif match := re.match(rf'features\.(0|{last})\.([01])\.(.*)', name):
            name = f'layer{match[1]}.{("conv", "bn")[int(match[2])]}.{match[3]}'
        renamed[name] = tensor
    return renamed


def _finish_vgg(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    layers = [int(match[1]) for name in tensors if (match := re.match(r'features\.(\d+)\.weight$', name))]
    convs = sorted(layer for layer in layers if tensors[f'features.{layer}.weight'].dim() == 4)
    own = sorted(int(match[1]) for name in host if (match := re.match(r'features\.(\d+)\.conv\.weight$', name)))
    places = {conv: f'features.{place}.conv.' for conv, place in zip(convs, own, strict=False)}
    places |= {conv + 1: place.replace('conv', 'bn') for conv, place in places.items()}  # where it has such a norm

    def place(match: re.Match) -> str:
        return places.get(int(match[1]), match[0])

    return {re.sub(r'^features\.(\d+)\.', place, name): tensor for name, tensor in tensors.items()}


_DENSENET = (
    (r'^features\.conv0\.', 'stem.0.'),
    (r'^features\.norm0\.', 'stem.1.'),
    (
        r'^features\.denseblock(\d+)\.denselayer(\d+)\.(conv|norm)\.?([12])\.',  # before 2018 with a dot
        lambda m: f'stages.{int(m[1]) - 1}.block.{int(m[2]) - 1}.{m[3]}{m[4]}.',
    ),
    (r'^features\.transition(\d+)\.', lambda m: f'transitions.{int(m[1]) - 1}.'),
    (r'^features\.norm5\.', 'transitions.3.0.'),
)
_TORCHVISION_REGNET = (
    (r'^stem\.0\.', 'stem.conv.'),
    (r'^stem\.1\.', 'stem.bn.'),
    (r'^trunk_output\.block(\d)\.block\d-(\d+)\.', lambda m: f's{m[1]}.b{int(m[2]) + 1}.'),
    (r'\.proj\.0\.', '.downsample.conv.'),
    (r'\.proj\.1\.', '.downsample.bn.'),
    (r'\.f\.([abc])\.([01])\.', lambda m: f'.conv{"abc".index(m[1]) + 1}.{("conv", "bn")[int(m[2])]}.'),
    (r'\.f\.se\.', '.se.'),
    (r'^fc\.', 'head.fc.'),
)
_TIMM_REGNET = (
    (r'^stem\.conv\.', 'conv1.'),
    (r'^stem\.bn\.', 'bn1.'),
    (r'^s(\d)\.b(\d+)\.', lambda m: f'layer{m[1]}.{int(m[2]) - 1}.'),
    (r'\.downsample\.conv\.', '.downsample.0.'),
    (r'\.downsample\.bn\.', '.downsample.1.'),
    (r'\.conv(\d)\.conv\.', r'.conv\1.'),
    (r'\.conv(\d)\.bn\.', r'.bn\1.'),
)

# ---------------------------------------------------------------------- transformers


def _finish_transformers(tensors: Tensors, host: Mapping[str, Tensor]) -> Tensors:
    """Join query, key and value, and give tokens their sides of length 1, as timm and the authors store them."""
    joined = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r'(.*\.attn\.)([qkv])\.(weight|bias)', name)
        if not match:
            joined[name] = tensor
            continue
        start, part, leaf = match.groups()
        if part != 'q':
            continue
        parts = [tensors.get(f'{start}{each}.{leaf}') for each in 'qkv']
        if leaf == 'bias' and parts[1] is None and parts[2] is not None:  # BEiT and Swin V2: keys have none
            joined |= {f'{start}q_bias': parts[0], f'{start}v_bias': parts[2]}
        elif all(each is not None for each in parts):
            joined[f'{start}qkv.{leaf}'] = torch.cat(parts)
    return _finish_tokens(joined)


_TRANSFORMERS = (  # names of files; then those that the library has in memory since its fifth version
    (r'\.attention\.(attention|self)\.(query|key|value)\.', lambda m: f'.attn.{m[2][0]}.'),
    (r'\.(attention|self_attn)\.([qkv])_proj\.', r'.attn.\2.'),
    (r'\.(attention\.output\.dense|attention\.o_proj|self_attn\.out_proj)\.', '.attn.proj.'),
    (r'\.(intermediate\.dense)\.', '.mlp.fc1.'),
    (r'\.output\.dense\.', '.mlp.fc2.'),
    (r'\.(layernorm_before|layer_norm1)\.', '.norm1.'),
    (r'\.(layernorm_after|layer_norm2)\.', '.norm2.'),
    (r'^(layernorm|post_layernorm)\.', 'norm.'),
    (r'^embeddings\.patch_embeddings?\.(projection\.)?', 'patch_embed.proj.'),
)
_TRANSFORMERS_VIT = (
    *_TRANSFORMERS,
    (r'^embeddings\.(cls_token|class_embedding)$', 'cls_token'),
    (r'^embeddings\.position_embeddings?(\.weight)?$', 'pos_embed'),
    (r'^embeddings\.distillation_token$', 'dist_token'),
    (r'^embeddings\.register_tokens$', 'reg_token'),
    (r'^embeddings\.mask_token$', 'mask_token'),
    (r'^pre_layrnorm\.', 'norm_pre.'),  # sic
    (r'^pooler\.layernorm\.', 'fc_norm.'),
    (r'^(encoder\.layers?|layers)\.', 'blocks.'),
    (r'\.layer_scale([12])\.lambda1$', r'.ls\1.gamma'),
    (r'\.lambda_([12])$', r'.gamma_\1'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
    (r'\.(attention\.attention\.)?relative_position_bias\.relative_position_bias_table$',
     '.attn.relative_position_bias_table'),
)  # fmt: skip
_TRANSFORMERS_SWIN = (
    *_TRANSFORMERS,
    (r'^embeddings\.norm\.', 'patch_embed.norm.'),
    (r'^encoder\.', ''),
    (r'^layers\.(\d+)\.downsample\.', lambda m: f'layers.{int(m[1]) + 1}.downsample.'),  # where timm merges patches
    (r'\.attention\.(self\.)?(relative_position_bias\.)?relative_position_bias_table$',
     '.attn.relative_position_bias_table'),
    (r'\.attention\.self\.logit_scale$', '.attn.logit_scale'),
    (r'\.attention\.self\.continuous_position_bias_mlp\.', '.attn.cpb_mlp.'),
)  # fmt: skip
_TRANSFORMERS_CONVNEXT = (
    (r'^embeddings\.patch_embeddings\.', 'stem.0.'),
    (r'^embeddings\.layernorm\.', 'stem.1.'),
    (r'^encoder\.stages\.(\d+)\.downsampling_layer\.', r'stages.\1.downsample.'),
    (r'^encoder\.stages\.(\d+)\.layers\.', r'stages.\1.blocks.'),
    (r'\.dwconv\.', '.conv_dw.'),
    (r'\.pwconv([12])\.', r'.mlp.fc\1.'),
    (r'\.grn\.', '.mlp.grn.'),
    (r'^layernorm\.', 'head.norm.'),
    (r'\.layernorm\.', '.norm.'),
    (r'\.layer_scale_parameter$', '.gamma'),
)
_TRANSFORMERS_RESNET = (
    (r'^embedder\.embedder\.convolution\.', 'conv1.'),
    (r'^embedder\.embedder\.normalization\.', 'bn1.'),
    (r'^encoder\.stages\.(\d)\.layers\.', lambda m: f'layer{int(m[1]) + 1}.'),
    (r'\.layer\.(\d)\.convolution\.', lambda m: f'.conv{int(m[1]) + 1}.'),
    (r'\.layer\.(\d)\.normalization\.', lambda m: f'.bn{int(m[1]) + 1}.'),
    (r'\.shortcut\.convolution\.', '.downsample.0.'),
    (r'\.shortcut\.normalization\.', '.downsample.1.'),
)


def _through(naming: Naming, then: Naming) -> tuple[Naming, Naming]:
    """Return a naming that gives timm's names, for its networks, and one that goes on from there to the host's."""
    return naming, naming._replace(rules=(), finish=lambda tensors, host: then(naming(tensors, host), host))


_TIMM_VITS = Naming('timm, DeiT, DeiT-III, MAE, BEiT, DINO or DINOv2', 'patch_embed.proj.weight', _VIT, _finish_vit)
_SWINS = Naming('Swin or timm (Swin)', 'layers.0.blocks.0.attn.qkv.weight', _SWIN, _finish_swin)
_TIMM_CONVNEXTS = Naming('timm (ConvNeXt)', 'stem.0.weight', _TIMM_CONVNEXT, _finish_convnext)
_TIMM_REGNETS = Naming('timm (RegNet)', 'stem.conv.weight', _TIMM_REGNET)

NAMINGS = (
    _TIMM_VITS,
    Naming('CLIP', 'positional_embedding', _CLIP, _finish_clip),
    Naming('torchvision (ViT)', 'conv_proj.weight', _TORCHVISION_VIT, _finish_vit),
    Naming('mmpretrain (ViT)', 'patch_embed.projection.weight', (), _finish_vit),
    Naming('an old mmpretrain (Swin)', 'stages.0.blocks.0.attn.w_msa.qkv.weight', (), _finish_convnext),
    _SWINS,
    Naming('torchvision (Swin)', 'features.1.0.attn.qkv.weight', _TORCHVISION_SWIN, _finish_torchvision_swin),
    Naming('ConvNeXt', 'downsample_layers.0.0.weight', _CONVNEXT, _finish_convnext),
    _TIMM_CONVNEXTS,
    Naming('torchvision (ConvNeXt)', 'features.1.0.layer_scale', _TORCHVISION_CONVNEXT, _finish_torchvision_convnext),
    Naming('timm (ResNet-D)', 'conv1.0.weight', _RESNET_D, _finish_resnet_d),
    Naming('efficientnet_pytorch', '_conv_stem.weight', (), _finish_efficientnet),
    Naming('timm (EfficientNet)', 'conv_stem.weight', (), _finish_timm_efficientnet),
    Naming('torchvision (MobileNetV2)', 'features.1.conv.0.0.weight', (), _finish_torchvision_mobilenet),
    Naming('torchvision (MobileNetV3)', 'features.1.block.0.0.weight', (), _finish_torchvision_mobilenet_v3),
    Naming('torchvision or timm (DenseNet)', 'features.conv0.weight', _DENSENET),
    Naming('torchvision or timm (VGG)', 'features.0.weight', (), _finish_vgg),
    *_through(
        Naming('torchvision (RegNet)', 'trunk_output.block1.block1-0.f.a.0.weight', _TORCHVISION_REGNET), _TIMM_REGNETS
    ),
    _TIMM_REGNETS,
    *_through(
        Naming(
            'transformers (ViT)',
            'embeddings.patch_embeddings.projection.weight',
            _TRANSFORMERS_VIT,
            _finish_transformers,
        ),
        _TIMM_VITS,
    ),
    *_through(
        Naming('transformers (CLIP)', 'embeddings.patch_embedding.weight', _TRANSFORMERS_VIT, _finish_transformers),
        _TIMM_VITS,
    ),
    *_through(
        Naming(
            'transformers (Swin)',
            'embeddings.patch_embeddings.projection.weight',
            _TRANSFORMERS_SWIN,
            _finish_transformers,
        ),
        _SWINS,
    ),
    *_through(
        Naming('transformers (ConvNeXt)', 'embeddings.patch_embeddings.weight', _TRANSFORMERS_CONVNEXT),
        _TIMM_CONVNEXTS,
    ),
    Naming('transformers (ResNet)', 'embedder.embedder.convolution.weight', _TRANSFORMERS_RESNET),
)
