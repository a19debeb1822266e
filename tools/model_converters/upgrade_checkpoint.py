# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Rewrite a training checkpoint of plain MMEngine so that PyTorch loads it under its protection.

    python tools/model_converters/upgrade_checkpoint.py work_dirs/old/epoch_3.pth

MMEngine without mmmaskany pickles functions into its checkpoints, which ``torch.load`` refuses since PyTorch 2.6. To
rewrite such a file it has to be loaded with ``weights_only=False`` once, and that RUNS WHATEVER CODE THE FILE HOLDS: do
it with files that you trust, such as your own. Without a second name the file itself is replaced, as a whole.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany.utils.atomic import atomic_write, serialise
from mmmaskany.utils.safe_load import read_checkpoint


def upgrade(source: Path, target: Path) -> None:
    """Rewrite one checkpoint, which must be trusted.

    Args:
        source (Path): A checkpoint of plain MMEngine. Code in it is executed.
        target (Path): The file to write; may be the same.

    Raises:
        ValueError: If the rewritten checkpoint could still not be loaded.
    """
    checkpoint = torch.load(source, map_location='cpu', weights_only=False)
    trial = target.with_name(f'.{target.name}.trial')
    try:
        atomic_write(trial, serialise(checkpoint))
        read_checkpoint(trial)
        trial.replace(target)
    finally:
        trial.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> None:
    """Rewrite the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of plain MMEngine, from a source that you trust')
    parser.add_argument('target', type=Path, nargs='?', help='file to write (default: the checkpoint itself)')
    args = parser.parse_args(argv)
    target = args.target or args.checkpoint
    upgrade(args.checkpoint, target)
    print(f'{target} loads under weights_only=True now')


if __name__ == '__main__':
    main(sys.argv[1:])
