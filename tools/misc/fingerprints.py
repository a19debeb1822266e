# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the fingerprints by which a checkpoint tells its network: of all of timm, and of mmpretrain's classifiers.

    python tools/misc/fingerprints.py

builds each network once, without memory (about a quarter of an hour on one core), and writes
mmmaskany/checkpoints/fingerprints.json. Needs timm and mmpretrain.
"""

import argparse
import contextlib
import copy
import io
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.fingerprints import TABLE, Fingerprint, fingerprint

#: What parameters are made by.
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)


class WithoutMemory(TorchFunctionMode):
    """Make parameters without memory; what networks compute numbers with while they are built keeps its values."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = dict(kwargs or {})
        if func in _MAKERS:
            kwargs.setdefault('device', 'meta')
        return func(*args, **kwargs)


def build(make: Callable[[], nn.Module], name: str) -> nn.Module | None:
    """Build a network without memory, in the first way that works.

    Args:
        make (Callable): Builds it.
        name (str): What to call it where it cannot be built.

    Returns:
        nn.Module | None: The network.
    """
    for context in (torch.device('meta'), WithoutMemory()):
        try:
            with context, contextlib.redirect_stdout(io.StringIO()):
                return make()
        except Exception as error:
            reason = f'{type(error).__name__}: {str(error)[:100]}'
    print(f'{name}: {reason}', file=sys.stderr)
    return None


def of_timm(table: dict, only: str) -> None:
    """Add timm's networks."""
    import timm

    for name in timm.list_models():
        if only in name and (network := build(lambda: timm.create_model(name), name)) is not None:  # noqa: B023
            add(table, f'timm/{name}', fingerprint(network.state_dict()))


def of_mmpretrain(table: dict, only: str) -> None:
    """Add the classifiers of mmpretrain's hub."""
    from mmengine.registry import MODELS, init_default_scope
    from mmpretrain.apis import list_models
    from mmpretrain.apis.model import ModelHub

    init_default_scope('mmpretrain')
    known = {}
    for name in list_models(task='Image Classification'):
        if only not in name:
            continue
        try:
            backbone = ModelHub.get(name).config.model.get('backbone')
        except Exception as error:  # one of its configs cannot be read
            print(f'{name}: {type(error).__name__}', file=sys.stderr)
            continue
        if backbone is None or str(backbone.type).startswith('mmmaskany.'):
            continue
        key = repr(backbone)
        if key not in known:
            network = build(lambda: MODELS.build(copy.deepcopy(backbone)), name)  # noqa: B023
            known[key] = network and fingerprint(network.state_dict())
        if known[key] is not None:
            add(table, name, known[key])


def add(table: dict, name: str, found: Fingerprint) -> None:
    """Add a network to the table."""
    table[found.kernels][name] = found.vectors + found.positions


def main(argv: list[str] | None = None) -> None:
    """Build the networks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='part of the names of the networks (default: all)')
    parser.add_argument('--out', type=Path, default=TABLE, help='file to write')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore')
    table = defaultdict(dict)
    of_timm(table, args.only)
    of_mmpretrain(table, args.only)
    lines = ',\n'.join(
        f'"{key}": {json.dumps(names)}' for key, names in sorted(table.items(), key=lambda item: list(item[1]))
    )
    args.out.write_text(f'{{\n{lines}\n}}\n', encoding='utf-8')
    print(f'{args.out}: {len(table)} networks, {sum(map(len, table.values()))} names')


if __name__ == '__main__':
    main(sys.argv[1:])
