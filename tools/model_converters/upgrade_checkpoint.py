# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Rewrite a training checkpoint of plain MMEngine so that PyTorch loads it under its protection.

    python tools/model_converters/upgrade_checkpoint.py work_dirs/old/epoch_3.pth

MMEngine without mmmaskany pickles functions into its checkpoints, those of its log histories, which ``torch.load``
refuses since PyTorch 2.6. They are left out here, by name; any other function or code in the file is refused as ever,
and nothing of it is run. Without a second name the file itself is replaced, as a whole.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.format import format_of, stamp
from mmmaskany.checkpoints.protection import plain_histories_allowed, protect, read_checkpoint
from mmmaskany.user_errors import run


def upgrade(source: Path, target: Path) -> None:
    """Rewrite one checkpoint.

    Args:
        source (Path): A checkpoint of plain MMEngine.
        target (Path): The file to write; may be the same.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds other functions or code, or is no checkpoint.
    """
    protect()  # what is written now has log histories without functions
    with plain_histories_allowed():
        checkpoint = read_checkpoint(source)
    checkpoint = stamp(checkpoint, format_of(checkpoint))  # its tensors stay what they are
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
    parser.add_argument('checkpoint', type=Path, help='checkpoint of plain MMEngine')
    parser.add_argument('target', type=Path, nargs='?', help='file to write (default: the checkpoint itself)')
    args = parser.parse_args(argv)
    target = args.target or args.checkpoint
    upgrade(args.checkpoint, target)
    print(f'{target} loads under weights_only=True now')


if __name__ == '__main__':
    sys.exit(run(main))
