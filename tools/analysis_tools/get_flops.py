# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Count parameters and multiply-accumulates of the model of a config, of mmpretrain, mmdet or mmseg.

    python tools/analysis_tools/get_flops.py configs/maskany/maskany_maskswin-tiny_8xb128-coslr-300e_in1k.py
    python tools/analysis_tools/get_flops.py configs/maskany_r50_mask-rcnn_coco.py --shape 800 1344

Counted is what one image costs at test time, where nothing is masked: the reused image is the whole one at half size.
The unit is the MAC, one multiplication and one addition. Many papers call it a FLOP; here it is two FLOPs, and both are
printed. Convolutions, linear layers and matrix products count, those of attention among them; norms, activations,
pooling and interpolation do not, nor do operators that mmcv compiles, such as deformable attention.

A segmentor is counted up to its scores, which its auxiliary heads have no part in. What the heads of a two-stage
detector cost depends on how many boxes it proposes; an untrained one proposes about as many as its config allows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.analysis.costs import count
from mmmaskany.engine.checks.config import OptionAction, read_config
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.inference.samples import SIZES
from mmmaskany.user_errors import run


def main(argv: list[str] | None = None) -> dict[str, dict[str, int]]:
    """Count, print a table and return what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='a config of mmpretrain, mmdet or mmseg')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the image in px (default: 224 224 with mmpretrain, 800 1344 with mmdet, 512 512 with mmseg)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='changes to the config')
    parser.add_argument('--out', type=Path, help='also write the numbers to this JSON file')
    args = parser.parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    library = cfg.default_scope
    init_default_scope(library)
    size = tuple(args.shape or SIZES[library])
    if min(size) < 1:
        parser.error(f'--shape must be positive, but got {size[0]} {size[1]}')
    torch.manual_seed(0)
    rows = count(MODELS.build(cfg.model), library, size)
    print(f'{args.config.stem}, one image of {size[0]} x {size[1]} px; 1 MAC (multiply-accumulate) = 2 FLOPs\n')
    cells = []
    for name, row in rows.items():
        part = 'reused stem and fusion, in it' if name == 'reused stem' else name
        cells.append([part, f'{row["parameters"]:,}', f'{row["macs"] / 1e9:.3f} G', f'{2 * row["macs"] / 1e9:.3f} G'])
    print(markdown_table(['part', 'parameters', 'MACs', 'FLOPs'], cells), end='')
    if args.out:
        args.out.write_text(json.dumps(dict(config=str(args.config), shape=size, counts=rows), indent=2))
    return rows


if __name__ == '__main__':
    sys.exit(run(main))
