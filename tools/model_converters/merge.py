# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Merge both stems of a checkpoint into one: what comes out, the plain network loads.

    python tools/model_converters/merge.py work_dirs/vit/epoch_100.pth vit.pth \\
        --config configs/maskany/maskany_vit-base-p16_8xb128-coslr-300e_in1k.py

With ``fusion='add'`` or 'concat' both stems of a ViT, Swin or ConvNeXt are linear, and one convolution does what both
do, exactly where the patches divide the image. Where something between is not linear (ResNet), it says so. What
``mmmaskany export DIR --plain`` does to the work dir of a training.
"""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany import user_errors
from mmmaskany.inference.exporting import export
from mmmaskany.inference.trained import FoundRun


def main(argv: list[str] | None = None) -> None:
    """Merge the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a network with two stems')
    parser.add_argument('target', type=Path, help='file to write, which must not exist yet; its config goes beside it')
    parser.add_argument('--config', type=Path, required=True, help='config of the network')
    parser.add_argument('--names', choices=['host', 'timm'], default='host', help='whose names the tensors get')
    args = parser.parse_args(argv)
    if args.target.exists():
        raise FileExistsError(f'{args.target} must not exist yet; remove it, or name another file')
    warnings.simplefilter('ignore')
    run = FoundRun(args.checkpoint.parent, args.config, args.checkpoint)
    for file in export(run, plain=True, out=args.target, names=args.names):
        print(file)


if __name__ == '__main__':
    sys.exit(user_errors.run(main))
