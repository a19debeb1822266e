# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the fingerprints by which a checkpoint tells its network: of all of timm, and of mmpretrain's classifiers.

    python tools/misc/fingerprints.py

builds each network once, without memory where that works (an hour or more on a busy core), and writes
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
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.fingerprints import TABLE, fingerprint

#: Those that take gigabytes to build in mmpretrain.
LARGE = ('large', 'huge', 'giant', 'xl', '-h', '-g', '-l', 'vit-l', 'enormous')


def of_timm(table: dict, only: str) -> None:
    """Add timm's networks."""
    import timm

    for name in timm.list_models():
        if only not in name:
            continue
        try:
            with torch.device('meta'):
                network = timm.create_model(name)
        except Exception as error:  # some cannot be built without memory
            print(f'timm/{name}: {type(error).__name__}', file=sys.stderr)
            continue
        table[fingerprint(network.state_dict())].append(f'timm/{name}')


def of_mmpretrain(table: dict, only: str) -> None:
    """Add the classifiers of mmpretrain's hub, as far as they are small enough to be built."""
    from mmengine.registry import MODELS, init_default_scope
    from mmpretrain.apis import list_models
    from mmpretrain.apis.model import ModelHub

    init_default_scope('mmpretrain')
    known = {}
    for name in list_models(task='Image Classification'):
        if only not in name or any(word in name for word in LARGE):
            continue
        cfg = ModelHub.get(name).config
        backbone = cfg.model.get('backbone') and copy.deepcopy(cfg.model.backbone)
        if not backbone:
            continue
        key = repr(backbone)
        if key not in known:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    known[key] = fingerprint(MODELS.build(backbone).state_dict())
            except Exception as error:
                print(f'{name}: {type(error).__name__}', file=sys.stderr)
                known[key] = None
        if known[key]:
            table[known[key]].append(name)


def main(argv: list[str] | None = None) -> None:
    """Build the networks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='part of the names of the networks (default: all)')
    parser.add_argument('--out', type=Path, default=TABLE, help='file to write')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore')
    table = defaultdict(list)
    of_timm(table, args.only)
    of_mmpretrain(table, args.only)
    lines = ',\n'.join(
        f'"{key}": {json.dumps(names)}' for key, names in sorted(table.items(), key=lambda item: item[1])
    )
    args.out.write_text(f'{{\n{lines}\n}}\n', encoding='utf-8')
    print(f'{args.out}: {len(table)} networks, {sum(map(len, table.values()))} names')


if __name__ == '__main__':
    main(sys.argv[1:])
