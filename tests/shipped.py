# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped configs for tests: each is read once, and models are built small."""

import copy
import functools
from pathlib import Path
from unittest import mock

import mmengine.config.config
import mmengine.config.utils
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from mmmaskany.models.stems import find_stem

ROOT = Path(__file__).resolve().parents[1]

WIDTHS = {
    'c1_channels',
    'c1_in_channels',
    'channels',
    'conv_out_channels',
    'embed_dim',
    'embed_dims',
    'fc_out_channels',
    'feat_channels',
    'feat_dim',
    'feedforward_channels',
    'hid_channels',
    'in_channels',
    'input_features',
    'num_feats',
    'out_channels',
}
COUNTS = dict(
    max_per_img=20,
    nms_pre=50,
    num=16,  # of a sampler
    num_dn_queries=4,
    num_groups=8,
    num_layers=2,
    num_points=32,
    num_queries=10,
)

# For each `_base_` of a library MMEngine reads all metafiles of that library again.
_read = functools.cache(mmengine.config.utils.load)
_is_installed = functools.cache(mmengine.config.config.is_installed)


@functools.cache
def load(path: Path | str) -> Config:
    """Load a config, or what a library ships ('mmdet::...'), which is slow; tests only read it."""
    with (
        mock.patch.object(mmengine.config.utils, 'load', _read),
        mock.patch.object(mmengine.config.config, 'is_installed', _is_installed),
    ):
        return Config.fromstring(f'_base_ = {path!r}', '.py') if '::' in str(path) else Config.fromfile(path)


def pipeline_of(dataloader: dict) -> list:
    """Return the pipeline of a data loader's dataset, inside all wrappers."""
    dataset = dataloader['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset['pipeline']


@functools.cache
def tree(path: Path | str) -> dict:
    """Load a config as plain dicts, to compare it."""
    return unscoped(load(path).to_dict())


def unscoped(node):
    """Leave out the scopes that MMEngine notes in what is inherited from a library."""
    if isinstance(node, dict):
        return {key: unscoped(value) for key, value in node.items() if key != '_scope_'}
    return [unscoped(value) for value in node] if isinstance(node, list) else node


def shrink_parts(node, factor: int, widths: set[str], key: str = ''):
    """Divide every width of a model's config, take fewer of everything that is counted, and BN for SyncBN."""
    if isinstance(node, dict):
        return {key: shrink_parts(value, factor, widths, key) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(shrink_parts(value, factor, widths, key) for value in node)
    if isinstance(node, int) and key in widths:
        return node // factor
    if isinstance(node, int) and key in COUNTS and factor > 1:
        return min(node, COUNTS[key])
    return 'BN' if node == 'SyncBN' else node


def small_arch(host: dict, factor: int) -> dict | str:
    """Divide the widths of the architecture that a backbone's config names, and leave one block in each stage."""
    cls = MODELS.get(host['type'] if '.' in host['type'] else f'mmpretrain.{host["type"]}')
    known = getattr(cls, 'arch_zoo', None) or cls.arch_settings
    arch = known[host['arch']]
    if isinstance(arch, list):  # of an EfficientNetV2, which knows architectures by their names alone
        name = f'{host["arch"]} / {factor}'
        known[name] = [[1, *row[1:4], row[4] // factor, row[5] // factor, *row[6:]] for row in arch]
        return name
    divided = {key: value for key, value in arch.items() if key in ('embed_dims', 'feedforward_channels', 'channels')}
    small = {**arch, **shrink_parts(divided, factor, {*divided})}
    return {**small, 'depths': [1] * len(arch['depths'])} if 'depths' in arch else small


def shrink(model: dict, full: bool = False) -> tuple[dict, int]:
    """Shrink the config of a model with a backbone of the usual width to an eighth, and return by how much."""
    model = copy.deepcopy(model)
    host = model['backbone'].get('backbone', model['backbone'])
    factor = 1 if full or 'base_channels' in host else 8
    # The positions of DINO's queries are encoded for a width of 256 whatever its config says.
    model = shrink_parts(model, factor, {'in_channels'} if model.get('type') == 'DINO' else WIDTHS)
    host = model['backbone'].get('backbone', model['backbone'])
    if factor > 1 and 'arch' in host:
        host['arch'] = small_arch(host, factor)
        if 'Swin' in host['type']:
            host.setdefault('window_size', 2)  # no map may be smaller
    elif factor > 1:
        stem = 128 if host['type'] == 'mmmaskany.MaskResNet' else 64
        host.update(base_channels=64 // factor, stem_channels=stem // factor)
    return model, factor


def stems(backbone) -> list[list[nn.Parameter]]:
    """List the parameters of each stem of a backbone."""
    dual = getattr(backbone, 'dual_stem', None)
    if dual is None:
        return [
            [parameter for part in find_stem(backbone).parts for parameter in backbone.get_submodule(part).parameters()]
        ]
    own = [parameter for part in backbone.stem_parts[:-1] for parameter in backbone.get_submodule(part).parameters()]
    return [own + list(dual.visible.parameters()), list(dual.reused.parameters())]
