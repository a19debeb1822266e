# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Turn a checkpoint of the MaskAnyNet paper's reference code into one of ours, with the same outputs.

    python tools/model_converters/reference_to_mmmaskany.py MaskSwin_T.pth maskswin-tiny.pth

MaskResNet, MaskViT, MaskSwin and MaskEfficientNetV2 are known by the names of their tensors, their size by the shapes.
What is written is the state dict of a classifier (``backbone.*`` and ``head.*``); what is printed is the config of that
classifier. It is built before anything is written: tensors that have no place in it or are missing are an error that
names them.
"""

import argparse
import math
import pprint
import re
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path

from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.format import EXTRA_STATE
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.registry import MODELS
from mmmaskany.user_errors import run

Weights = dict[str, Tensor]
#: What a module is called here, by a pattern of its name in the reference.
Names = dict[str, str]


def read_weights(path: Path) -> Weights:
    """Read the state dict of a reference checkpoint.

    Args:
        path (Path): The state dict, or a dict that holds it as 'model' or 'state_dict'. Its names may begin with the
            'module.' of a parallel training.

    Returns:
        dict[str, Tensor]: The tensors by their names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no state dict, or holds more than tensors and plain values.
    """
    weights = read_checkpoint(path)
    for key in ('model', 'state_dict'):
        if isinstance(weights.get(key), dict):
            weights = weights[key]
    if not weights or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise ValueError(
            f"checkpoint {path} must hold tensors by their names, bare or as 'model' or 'state_dict', but holds "
            f'{list(weights)[:5]}'
        )
    if all(name.startswith('module.') for name in weights):
        weights = {name.removeprefix('module.'): weight for name, weight in weights.items()}
    return weights


def resnet(weights: Weights) -> tuple[dict, Names]:
    """Return the classifier of a MaskResNet, and how its modules are called."""
    from mmmaskany.models.backbones import MaskResNet

    blocks = tuple(_count(weights, rf'layer{stage}') for stage in (1, 2, 3, 4))
    block = 'Bottleneck' if 'layer1.0.conv3.weight' in weights else 'BasicBlock'
    known = {depth: (block.__name__, counts) for depth, (block, counts) in MaskResNet.arch_settings.items()}
    backbone = dict(
        type='mmmaskany.MaskResNet',
        depth=_find(known, (block, blocks), 'MaskResNet'),
        stem_channels=len(weights['conv1_x1.weight']),
        base_channels=len(weights['layer1.0.conv1.weight']),
    )
    return _classifier(backbone, weights['fc.weight']), {
        r'conv1_x1': r'backbone.stem.visible.conv1',
        r'bn1_x1': r'backbone.stem.visible.bn1',
        r'downconv_x1': r'backbone.stem.visible.conv2',
        r'bn1_downconv_x1': r'backbone.stem.visible.bn2',
        r'conv1_x2': r'backbone.stem.reused.conv1',
        r'bn1_x2': r'backbone.stem.reused.bn1',
        r'(layer\d\..+)': r'backbone.\1',
        r'fc': r'head.fc',
    }


def vit(weights: Weights) -> tuple[dict, Names]:
    """Return the classifier of a MaskViT, and how its modules are called: the reference has timm's names."""
    from mmmaskany.models.backbones import MaskVisionTransformer

    keys = ('embed_dims', 'num_layers', 'feedforward_channels')
    known = {name: tuple(arch[key] for key in keys) for name, arch in MaskVisionTransformer.arch_zoo.items()}
    _, tokens, width = weights['pos_embed'].shape
    side = math.isqrt(tokens - 1)
    if side**2 != tokens - 1:
        raise ValueError(f'pos_embed must be of one class token and a square of patches, but is of {tokens} tokens')
    projection = weights['patch_embed.proj.weight']
    backbone = dict(
        type='mmmaskany.MaskVisionTransformer',
        arch=_find(known, (width, _count(weights, 'blocks'), len(weights['blocks.0.mlp.fc1.weight'])), 'MaskViT'),
        img_size=side * projection.shape[-1],
        patch_size=projection.shape[-1],
        fusion=_fusion(projection, width),
    )
    classifier = _classifier(backbone, weights['head.weight'], neck=None, head='VisionTransformer')
    if 'pre_logits.fc.weight' in weights:  # a layer and tanh before the last one, as in networks of ImageNet-21k
        classifier['head'].update(in_channels=width, hidden_dim=len(weights['pre_logits.fc.weight']))
    return classifier, {
        r'': r'backbone',  # the class token and the position embedding belong to the network itself
        r'patch_embed\.proj': r'backbone.patch_embed.projection.visible',
        r'patch_embed2\.proj': r'backbone.patch_embed.projection.reused',
        r'blocks\.(\d+)\.norm([12])': r'backbone.layers.\1.ln\2',
        r'blocks\.(\d+)\.attn\.(qkv|proj)': r'backbone.layers.\1.attn.\2',
        r'blocks\.(\d+)\.mlp\.fc1': r'backbone.layers.\1.ffn.layers.0.0',
        r'blocks\.(\d+)\.mlp\.fc2': r'backbone.layers.\1.ffn.layers.1',
        r'norm': r'backbone.ln1',
        r'pre_logits\.fc': r'head.layers.pre_logits',
        r'head': r'head.layers.head',
    }


def swin(weights: Weights) -> tuple[dict, Names]:
    """Return the classifier of a MaskSwin, and how its modules are called: the reference has Microsoft's names."""
    from mmmaskany.models.backbones import MaskSwinTransformer

    stages = range(_count(weights, 'layers'))
    tables = [weights[f'layers.{stage}.blocks.0.attn.relative_position_bias_table'] for stage in stages]
    windows = [(math.isqrt(len(table)) + 1) // 2 for table in tables]
    projection = weights['patch_embed.proj.weight']
    arch = dict(
        embed_dims=len(weights['layers.0.blocks.0.norm1.weight']),
        depths=[_count(weights, rf'layers\.{stage}\.blocks') for stage in stages],
        num_heads=[table.shape[1] for table in tables],
    )
    backbone = dict(
        type='mmmaskany.MaskSwinTransformer',
        arch=_find(MaskSwinTransformer.arch_zoo, arch) or arch,
        patch_size=projection.shape[-1],
        window_size=windows[0],
        out_indices=(len(stages) - 1,),
        fusion=_fusion(projection, arch['embed_dims']),
    )
    if len(set(windows)) > 1:  # where the map is smaller than the window, the window is as small as the map
        backbone['stage_cfgs'] = [dict(window_size=window) for window in windows]
    for name in [name for name in weights if re.fullmatch(r'layers\.\d+\.downsample\.(norm|reduction)\.\w+', name)]:
        weights[name] = _merge_order(weights[name])
    for name in [name for name in weights if re.fullmatch(r'layers\.\d+\.blocks\.\d+\.attn_mask', name)]:
        del weights[name]  # computed here
    return _classifier(backbone, weights['head.weight']), {
        r'patch_embed\.proj': r'backbone.patch_embed.projection.visible.projection',
        r'patch_embed\.norm': r'backbone.patch_embed.projection.visible.norm',
        r'patch_embed2\.proj': r'backbone.patch_embed.projection.reused.projection',
        r'patch_embed2\.norm': r'backbone.patch_embed.projection.reused.norm',
        r'layers\.(\d+)\.blocks\.(\d+)\.(norm[12])': r'backbone.stages.\1.blocks.\2.\3',
        r'layers\.(\d+)\.blocks\.(\d+)\.attn(|\.qkv|\.proj)': r'backbone.stages.\1.blocks.\2.attn.w_msa\3',
        r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1': r'backbone.stages.\1.blocks.\2.ffn.layers.0.0',
        r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2': r'backbone.stages.\1.blocks.\2.ffn.layers.1',
        r'layers\.(\d+)\.downsample\.(norm|reduction)': r'backbone.stages.\1.downsample.\2',
        r'norm': rf'backbone.norm{stages[-1]}',
        r'head': r'head.fc',
    }


def _merge_order(weight: Tensor) -> Tensor:
    """Reorder the last dimension of what follows a patch merging.

    In the reference all channels of a pixel are neighbours, and the 2 x 2 pixels go down before they go right. Here
    the pixels of a channel are neighbours, and go right before they go down.
    """
    return weight.unflatten(-1, (2, 2, -1)).movedim(-1, -3).transpose(-1, -2).flatten(-3)


#: Parts of a block of each kind, by mmpretrain's number of the kind, and what they are called here.
_BLOCKS = {
    1: {
        r'expand_conv\.(conv|bn)': r'expand_conv.\1',
        r'dwconv\.(conv|bn)': r'depthwise_conv.\1',
        r'se\.conv_reduce': r'se.conv1.conv',
        r'se\.conv_expand': r'se.conv2.conv',
        r'project_conv\.(conv|bn)': r'linear_conv.\1',
    },
    0: {r'expand_conv\.(conv|bn)': r'conv1.\1', r'project_conv\.(conv|bn)': r'conv2.\1'},
    -1: {r'project_conv\.(conv|bn)': r'\1'},
}


def efficientnet_v2(weights: Weights) -> tuple[dict, Names]:
    """Return the classifier of a MaskEfficientNetV2, and how its modules are called.

    The blocks of the reference are numbered through. A stage begins where their kind or their width changes.
    """
    from mmmaskany.models.backbones import MaskEfficientNetV2

    names, stages = {}, []  # of each stage: kind, width and number of its blocks
    for block in range(_count(weights, 'blocks')):
        parts = {name.split('.')[2] for name in weights if name.startswith(f'blocks.{block}.')}
        kind = 1 if 'dwconv' in parts else 0 if 'expand_conv' in parts else -1
        width = len(weights[f'blocks.{block}.project_conv.conv.weight'])
        if not stages or stages[-1][:2] != [kind, width]:
            stages.append([kind, width, 0])
        for part, here in _BLOCKS[kind].items():
            names[rf'blocks\.{block}\.{part}'] = f'backbone.layers.{len(stages)}.{stages[-1][2]}.{here}'
        stages[-1][2] += 1

    settings = MaskEfficientNetV2.arch_settings
    known = {name: [[row[7], row[5], row[0]] for row in rows[:-1]] for name, rows in settings.items()}
    arch = _find(known, stages, 'MaskEfficientNetV2')
    fusion = _fusion(weights['stem1.conv.weight'], settings[arch][0][4])
    backbone = dict(type='mmmaskany.MaskEfficientNetV2', arch=arch, fusion=fusion)
    return _classifier(backbone, weights['head.classifier.weight']), {
        r'stem1\.(conv|bn)': r'backbone.layers.0.visible.\1',
        r'stem2\.(conv|bn)': r'backbone.layers.0.reused.\1',
        **names,
        r'head\.project_conv\.(conv|bn)': rf'backbone.layers.{len(stages) + 1}.\1',
        r'head\.classifier': r'head.fc',
    }


#: The families by a tensor that only they have; Swin's come before those of ViT.
_FAMILIES = {
    'conv1_x2.weight': resnet,
    'patch_embed2.norm.weight': swin,
    'patch_embed2.proj.weight': vit,
    'stem2.conv.weight': efficientnet_v2,
}


def _count(weights: Weights, modules: str) -> int:
    """Count the modules that are numbered below a name."""
    found = (re.match(rf'{modules}\.(\d+)\.', name) for name in weights)
    return len({match[1] for match in found if match})


def _find(known: Mapping, wanted: object, network: str | None = None) -> Hashable:
    """Return the name of an architecture, the long one where it has a short one too."""
    names = [name for name, architecture in known.items() if architecture == wanted][:2]
    if network and not names:
        raise ValueError(f'a {network} must have the sizes of one of {list(known)}, but this one has {wanted}')
    return max(names, key=lambda name: len(str(name)), default=None)


def _fusion(stem: Tensor, width: int) -> str:
    """Tell from the weight of a stem how both are fused."""
    fusions = {width: 'add', width / 2: 'concat'}
    if len(stem) not in fusions:
        raise ValueError(f'both stems must have {width} or {width / 2:g} channels, but have {len(stem)}')
    return fusions[len(stem)]


def _classifier(
    backbone: dict, weight: Tensor, neck: str | None = 'GlobalAveragePooling', head: str = 'Linear'
) -> dict:
    """Return the config of a classifier whose last layer has this weight."""
    classes, channels = weight.shape
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=backbone,
        neck=neck and dict(type=f'mmpretrain.{neck}'),
        head=dict(type=f'mmpretrain.{head}ClsHead', num_classes=classes, in_channels=channels),
    )


def convert(weights: Weights) -> tuple[dict, Weights]:
    """Convert the state dict of a network of the reference code.

    Args:
        weights (dict[str, Tensor]): The tensors by the reference's names.

    Returns:
        tuple[dict, dict[str, Tensor]]: The config of the classifier, and its state dict.

    Raises:
        ValueError: If it is no network of the reference, or its tensors do not fill ours or have no place there. The
            message names all of them.
    """
    family = next((family for mark, family in _FAMILIES.items() if mark in weights), None)
    if family is None:
        raise ValueError(
            f'the checkpoint must be of a network of the reference code, which has one of {list(_FAMILIES)}, but has '
            f'{list(weights)[:5]}'
        )
    weights = dict(weights)
    try:
        classifier, modules = family(weights)
    except KeyError as error:
        raise ValueError(f'the checkpoint must have all tensors of its network, but {error} is missing') from error

    def rename(name: str) -> str:
        module, _, tensor = name.rpartition('.')
        for pattern, here in modules.items():
            if match := re.fullmatch(pattern, module):
                return f'{match.expand(here)}.{tensor}'
        return name

    names = {name: rename(name) for name in weights}
    given, own = set(names.values()), MODELS.build(classifier).state_dict()
    left = [name for name, here in names.items() if here not in own]
    missing = [here for here in own if here not in given and not here.endswith(('num_batches_tracked', EXTRA_STATE))]
    reshaped = [
        f'{name} {tuple(weights[name].shape)} instead of {tuple(own[here].shape)}'
        for name, here in names.items()
        if here in own and weights[name].shape != own[here].shape
    ]
    if left or missing or reshaped:
        raise ValueError(
            f'the checkpoint must fill a {classifier["backbone"]["type"]} and hold no other tensor, but '
            f'{len(left)} have no place {left}, {len(missing)} are missing {missing}, {len(reshaped)} have another '
            f'shape {reshaped}'
        )
    formats = {here: state for here, state in own.items() if here.endswith(EXTRA_STATE)}
    return classifier, {here: weights[name] for name, here in names.items()} | formats


def main(argv: list[str] | None = None) -> None:
    """Convert the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the reference code')
    parser.add_argument('target', type=Path, help='file to write; must not exist yet')
    args = parser.parse_args(argv)
    if args.target.exists():
        raise FileExistsError(f'{args.target} must not exist yet')
    classifier, weights = convert(read_weights(args.checkpoint))
    content = dict(meta=dict(mmmaskany_version=mmmaskany.__version__), state_dict=weights)
    atomic_write(args.target, serialise(content))
    print(f'{args.target} fills this model:\nmodel = {pprint.pformat(classifier, sort_dicts=False)}')


if __name__ == '__main__':
    sys.exit(run(main))
