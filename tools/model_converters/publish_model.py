# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Make a training checkpoint ready to be given away: its weights, what its classes are called, and nothing else.

    python tools/model_converters/publish_model.py work_dirs/maskany_r50_in1k/epoch_100.pth maskany_r50_in1k.pth

writes ``maskany_r50_in1k-<first 8 digits of its SHA-256>.pth``. Optimiser, log histories, accumulating gradients and
the config, which tells where things lie on your machine, stay behind; where weights are averaged (EMAHook) the average
is kept. The file starts a training (``init_cfg``, ``load_from``) and can be tested, but not be resumed from.
"""

import argparse
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.format import KEY, format_of
from mmmaskany.checkpoints.reading import read_weights
from mmmaskany.user_errors import run

#: What of a checkpoint's ``meta`` is kept.
META = ('dataset_meta', 'epoch', 'iter', 'mmengine_version', 'mmmaskany_version', KEY)


def publish(source: Path, target: Path, container: str | None = None) -> Path:
    """Write the weights of a checkpoint into a file whose name ends in its hash.

    Args:
        source (Path): A checkpoint, or a bare state dict.
        target (Path): The file to write; its name gets the hash.
        container (str | None): Where in the source the weights lie. Defaults to None, which finds it out.

    Returns:
        Path: The file that was written.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        FileExistsError: If another file has the name already.
        ValueError: If the source is not a checkpoint.
    """
    weights = read_weights(source, container)
    meta = {'mmmaskany_version': mmmaskany.__version__, **weights.meta, KEY: format_of(dict(meta=weights.meta))}
    data = serialise(dict(meta={key: meta[key] for key in META if key in meta}, state_dict=weights.tensors))

    target = target.with_name(f'{target.name.removesuffix(".pth")}-{hashlib.sha256(data).hexdigest()[:8]}.pth')
    if target.exists() and target.read_bytes() != data:
        raise FileExistsError(f'{target} must not exist yet, but there is another file of this name')
    atomic_write(target, data)
    return target


def main(argv: list[str] | None = None) -> None:
    """Publish the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a training')
    parser.add_argument('target', type=Path, help='file to write; its name gets the hash')
    parser.add_argument('--container', help='where in the file its weights lie, such as model_ema (default: found out)')
    args = parser.parse_args(argv)
    target = publish(args.checkpoint, args.target, args.container)
    before, after = (path.stat().st_size / 2**20 for path in (args.checkpoint, target))
    print(f'{target} ({after:.1f} MB; {args.checkpoint} has {before:.1f} MB)')


if __name__ == '__main__':
    sys.exit(run(main))
