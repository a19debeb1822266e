# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Give a plain checkpoint the second stem of a config, offline.

    python tools/model_converters/adopt.py resnet50.pth maskany_resnet50.pth \\
        --config configs/maskany/maskany_resnet50_8xb128-coslr-100e_in1k.py

A MaskAny backbone takes a plain checkpoint by itself (``init_cfg``, ``load_from``); this writes down what it makes of
it, for programs that load state dicts themselves. The reused stem starts from the weights of the host's stem and
contributes nothing, so that the outputs are the plain ones. Tensors outside the backbone are kept as they are. Without
a ``backbone.`` in its names the file is taken for a bare backbone's.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine.checks.config import read_config
from mmmaskany.engine.user_errors import run
from mmmaskany.models.backbones import MaskAnyMixin

PREFIX = 'backbone.'


def adopt(checkpoint: dict, cfg: Config) -> dict:
    """Complete the backbone of a plain checkpoint.

    Args:
        checkpoint (dict): What the file holds: a state dict, or one under ``'state_dict'``. Left as it is.
        cfg (Config): The config of a classifier, detector or segmentor whose backbone has a second stem.

    Returns:
        dict: ``state_dict`` of the completed tensors, and ``meta`` without the plain network's config.

    Raises:
        ValueError: If the config's backbone has no second stem, the checkpoint has one already, or they do not fit.
    """
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    backbone = MODELS.build(cfg.model.backbone)
    if not isinstance(backbone, MaskAnyMixin) or backbone.dual_stem is None:
        raise ValueError(
            f'the backbone of {cfg.filename} must have a second stem, but is a {type(backbone).__name__} without one: '
            'it takes the plain checkpoint as it is'
        )
    tensors = checkpoint.get('state_dict', checkpoint)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ''
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    reused = f'{backbone.stem_parts[-1]}.reused.'
    if any(name.startswith(reused) for name in own):
        raise ValueError(f'the checkpoint must be a plain one, but has a second stem already ({reused}*)')
    backbone.load_state_dict(own, strict=False)
    state = {f'{prefix}{name}': tensor for name, tensor in backbone.state_dict().items()}
    parts = {name.removeprefix(prefix).partition('.')[0] for name in state}
    for name, tensor in tensors.items():
        if not name.startswith(prefix) or name.removeprefix(prefix).partition('.')[0] not in parts:
            state[name] = tensor
    meta = {key: value for key, value in (checkpoint.get('meta') or {}).items() if key != 'cfg'}
    return dict(meta=meta, state_dict=state)


def main(argv: list[str] | None = None) -> None:
    """Adopt the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the plain network')
    parser.add_argument('target', type=Path, help='file to write, which must not exist yet')
    parser.add_argument('--config', required=True, help='config whose backbone has the second stem')
    args = parser.parse_args(argv)
    if args.target.exists():
        raise FileExistsError(f'{args.target} must not exist yet; remove it, or name another file')
    checkpoint = read_checkpoint(args.checkpoint)
    try:
        adopted = adopt(checkpoint, read_config(args.config))
    except ValueError as error:
        raise ValueError(f'{args.checkpoint}: {error}') from error
    atomic_write(args.target, serialise(adopted))
    added = len(adopted['state_dict']) - len(checkpoint.get('state_dict', checkpoint))
    print(f'{args.target}: {len(adopted["state_dict"])} tensors, {added} of them added to those of {args.checkpoint}')


if __name__ == '__main__':
    sys.exit(run(main))
