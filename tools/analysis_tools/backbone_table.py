# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Build MaskAny around a backbone of every family, run it, and write what came out as a table.

    python tools/analysis_tools/backbone_table.py                       # all of them, into docs/backbones.md
    python tools/analysis_tools/backbone_table.py --only Swin --out -   # those of that name, to the screen

Nothing in the table is written by hand. For each family the plain backbone is built, its weights are shaken so that
none is at its initial value, and saved; MaskAny around it is built, initialised, and loads that file; both see the same
images, of 224 x 224 px and of another size that is not square. The whole table wants mmdet, mmseg and timm installed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.inference.samples import count_flops
from mmmaskany.user_errors import run

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'backbones.md'

#: Families, and a usual member of each.
BACKBONES = {
    'ResNet-50': dict(type='mmpretrain.ResNet', depth=50),
    'ResNetV1d-50': dict(type='mmpretrain.ResNetV1d', depth=50),
    'ResNeXt-50': dict(type='mmpretrain.ResNeXt', depth=50),
    'ConvNeXt-T': dict(type='mmpretrain.ConvNeXt', arch='tiny'),
    'ConvNeXt V2-T': dict(type='mmpretrain.ConvNeXt', arch='tiny', use_grn=True, layer_scale_init_value=0.0),
    'Swin-T': dict(type='mmpretrain.SwinTransformer', arch='tiny'),
    'Swin V2-T': dict(type='mmpretrain.SwinTransformerV2', arch='tiny', window_size=7, img_size=224),
    'ViT-B/16': dict(type='mmpretrain.VisionTransformer', arch='base'),
    'DeiT-S/16': dict(type='mmpretrain.DistilledVisionTransformer', arch='deit-small'),
    'DeiT III-S/16': dict(type='mmmaskany.DeiT3', arch='small'),
    'BEiT-B/16': dict(type='mmpretrain.BEiTViT', arch='base'),
    'EfficientNet-B0': dict(type='mmpretrain.EfficientNet', arch='b0'),
    'EfficientNetV2-S': dict(type='mmpretrain.EfficientNetV2', arch='s'),
    'MobileNetV2': dict(type='mmpretrain.MobileNetV2'),
    'MobileNetV3-Small': dict(type='mmpretrain.MobileNetV3', arch='small'),
    'RegNetX-400MF': dict(type='mmpretrain.RegNet', arch='regnetx_400mf'),
    'HRNet-W18': dict(type='mmpretrain.HRNet', arch='w18'),
    'VAN-T': dict(type='mmpretrain.VAN', arch='tiny'),
    'MViTv2-T': dict(type='mmpretrain.MViT', arch='tiny'),
    'PoolFormer-S12': dict(type='mmpretrain.PoolFormer', arch='s12', frozen_stages=-1),
    'RepVGG-A0': dict(type='mmpretrain.RepVGG', arch='A0'),
    'Swin-T of mmdet': dict(type='mmdet.SwinTransformer'),
    'ResNeSt-50 of mmdet': dict(type='mmdet.ResNeSt', depth=50),
    'PVT-T of mmdet': dict(type='mmdet.PyramidVisionTransformer', num_layers=[2, 2, 2, 2]),
    'CSPNeXt-L of mmdet': dict(type='mmdet.CSPNeXt'),
    'ViT-B/16 of mmseg': dict(type='mmseg.VisionTransformer'),
    'BEiT-B/16 of mmseg': dict(type='mmseg.BEiT'),
    'MiT-B0 of mmseg': dict(type='mmseg.MixVisionTransformer', embed_dims=32, num_layers=[2, 2, 2, 2]),
    'MSCAN-T of mmseg': dict(type='mmseg.MSCAN', embed_dims=[32, 64, 160, 256], depths=[3, 3, 5, 2]),
    'ResNet-50 of timm': dict(type='mmpretrain.TIMMBackbone', model_name='resnet50'),
    'EfficientNet-B0 of timm': dict(type='mmpretrain.TIMMBackbone', model_name='efficientnet_b0'),
    'ConvNeXt-T of timm': dict(type='mmpretrain.TIMMBackbone', model_name='convnext_tiny'),
    'ViT-S/16 of timm': dict(type='mmpretrain.TIMMBackbone', model_name='vit_small_patch16_224', dynamic_img_size=True),
}

#: Heading of what else is in the document.
KEPT = '\n## Checkpoints as people have them\n'
SIZE = (224, 224)
OTHER_SIZE = (256, 320)

INTRODUCTION = f"""# Backbones that MaskAny goes around

Written by `python tools/analysis_tools/backbone_table.py`, which builds and runs each of them: do not edit.

`dict(type='mmmaskany.MaskAny', backbone=...)` finds the stem of these families by itself. The reused stem is a copy of
it with half the stride: where the stem cuts patches, kernel and stride are halved, else the stride of its last strided
layer. Parameters and MACs (multiply-accumulates at {SIZE[0]} x {SIZE[1]} px) are what the reused stem and the fusion
('add') add to the plain backbone. The last columns compare its features with those of MaskAny that has loaded its
checkpoint: the largest difference, in float32, at {SIZE[0]} x {SIZE[1]} and at {OTHER_SIZE[0]} x {OTHER_SIZE[1]} px.
A family of your own is registered as [extend.md](extend.md#a-family-of-backbones) says.

For another backbone name the module that is its stem, as in `stem='features.0'`. What has no stem that could be halved
(stride 1, no convolution, odd patches) is refused when it is built; `fuse_at='levels'` needs no second stem. Only
ResNet_CIFAR may have stride 1: its reused features are upsampled. Where the stem is frozen, so is the reused
one: mmpretrain's PoolFormer freezes it unless `frozen_stages=-1`. The paper's own networks, such as MaskSwin, take no
plain checkpoints.

With `fuse_at='levels'` the host runs on both images with shared weights, and what it returns is fused level by level
before it leaves the backbone: maps, tokens and vectors, in the number and form that the plain host returns. Around all
of these but the two BEiTs, which take one size only, a plain checkpoint then gives the plain outputs bit for bit. Half
of the image must fit the host, too: sides of HRNet are multiples of 64, and mmpretrain's Swin with windows of 7 wants
448 px or `pad_small_map=True`. A level that no head reads, such as the first one of RetinaNet, leaves its fusion
without gradients: leave it out of `out_indices` in distributed training. `fuse_at='neck'` hands the levels of both
images to `mmmaskany.MaskAnyNeck`, for losses on each branch; any other neck or head refuses them.
"""

HEAD = (
    'Backbone',
    'Class',
    'Stem',
    'Stride',
    'Added parameters',
    'Added MACs (M)',
    'Plain checkpoint',
    f'Difference at {SIZE[0]} x {SIZE[1]}',
    f'Difference at {OTHER_SIZE[0]} x {OTHER_SIZE[1]}',
)


def flat(outputs: object) -> list[Tensor]:
    """Return the tensors of what a backbone returns."""
    return [outputs] if isinstance(outputs, Tensor) else [tensor for part in outputs for tensor in flat(part)]


def shake(model: nn.Module) -> None:
    """Move all weights and statistics from where they start."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith('running_mean'):
                buffer.uniform_(-0.1, 0.1)
            elif name.endswith('running_var'):
                buffer.uniform_(0.8, 1.2)


def macs(model: nn.Module, image: Tensor) -> int:
    """Count multiply-accumulates for one image."""
    with count_flops() as counter:
        model(image)
    return counter.get_total_flops() // 2


def measure(cfg: dict, folder: Path) -> list[str]:
    """Build and run a backbone and MaskAny around it.

    Args:
        cfg (dict): The plain backbone.
        folder (Path): For its checkpoint.

    Returns:
        list[str]: The cells of its row, but the first.

    Raises:
        ImportError: If its library is not installed.
        ValueError: If MaskAny does not go around it, or does not take its checkpoint.
    """
    torch.manual_seed(0)
    plain = MODELS.build(copy.deepcopy(cfg))
    plain.init_weights()
    shake(plain)
    plain.eval()
    path = folder / 'plain.pth'
    torch.save(dict(state_dict={f'backbone.{name}': tensor for name, tensor in plain.state_dict().items()}), path)
    model = MODELS.build(dict(type='mmmaskany.MaskAny', backbone=copy.deepcopy(cfg)))
    model.init_weights()
    load_checkpoint(nn.ModuleDict(dict(backbone=model)), str(path))  # as `load_from` does
    model.eval()

    differences = []
    with torch.no_grad():
        for size in (SIZE, OTHER_SIZE):
            image = torch.randn(1, 3, *size)
            try:
                expected = flat(plain(image))
            except (AssertionError, RuntimeError):
                differences.append('the plain one takes one size')
                continue
            pairs = zip(flat(model(image)), expected, strict=True)
            largest = max((level - other).abs().max().item() for level, other in pairs)
            differences.append(f'{largest:.0e}' if largest else '0')
        image = torch.randn(1, 3, *SIZE)
        before, after = (macs(each, image) for each in (plain, model))
    stem = model.dual_stem
    parameters = sum(parameter.numel() for part in (stem.reused, stem.fusion) for parameter in part.parameters())
    return [
        f'`{cfg["type"]}`',
        ', '.join(f'`{part}`' for part in model.stem_parts),
        f'{2 * stem.stride:g} → {stem.stride:g}',
        f'{parameters:,}',
        f'{(after - before) / 1e6:.1f} ({100 * (after - before) / before:.2f} %)',
        'loads' if stem.fusion.is_silent() else 'fails',
        *differences,
    ]


def main(argv: list[str] | None = None) -> list[list[str]]:
    """Measure, write the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='part of the names of the backbones to measure (default: all)')
    parser.add_argument('--out', default=str(DOCUMENT), help='file to write; - is the screen')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore', category=UserWarning)
    MMLogger.get_instance('backbone_table', log_level='WARNING')
    init_default_scope('mmpretrain')
    chosen = {name: cfg for name, cfg in BACKBONES.items() if args.only in name}
    if not chosen:
        parser.error(f'--only must be part of one of {list(BACKBONES)}, but got {args.only!r}')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, cfg in chosen.items():
            try:
                with contextlib.redirect_stdout(sys.stderr):  # MMEngine prints what it loads
                    rows.append([name, *measure(cfg, Path(folder))])
            except (ImportError, KeyError) as error:
                parser.error(f'{name} must be installed to be measured ({error}); choose others with --only')
            print(' | '.join(rows[-1]), file=sys.stderr)
    table = markdown_table(HEAD, rows, words=(0, 1, 2, 6))
    if args.out == '-':
        print(table, end='')
    else:
        path = Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        names = ('torch', 'mmpretrain', 'mmdet', 'mmseg', 'timm')
        versions = ', '.join(f'{name} {sys.modules[name].__version__}' for name in names if name in sys.modules)
        old = path.read_text(encoding='utf-8') if path.is_file() else ''
        rest = KEPT + old.partition(KEPT)[2] if KEPT in old else ''  # written by hand, and by checkpoint_table.py
        path.write_text(f'{INTRODUCTION}\nMeasured with {versions}.\n\n{table}{rest}', encoding='utf-8')
    return rows


if __name__ == '__main__':
    sys.exit(run(main))
