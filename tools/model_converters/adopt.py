# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Give a plain checkpoint the second stem of a config, offline.

    python tools/model_converters/adopt.py resnet50.pth maskany_resnet50.pth \\
        --config configs/maskany/maskany_resnet50_8xb128-coslr-100e_in1k.py

A MaskAny backbone takes a plain checkpoint by itself (``init_cfg``, ``load_from``); this writes down what it makes of
it, for programs that load state dicts themselves. The reused stem starts from the weights of the host's stem and
contributes nothing, so that the outputs are the plain ones. The file may be of timm, torchvision or another publisher
(docs/backbones.md), of PyTorch or safetensors; what it has for a head of the same kind is kept. A file without
``backbone.`` in its names gives a bare backbone's.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.format import KEY
from mmmaskany.checkpoints.mismatch import CheckpointMismatchError
from mmmaskany.checkpoints.reading import Weights, find_fit, place, read_weights
from mmmaskany.engine.checks.config import read_config
from mmmaskany.models.backbones import MaskAnyMixin
from mmmaskany.user_errors import run

PREFIX = 'backbone.'


def adopt(weights: Weights, cfg: Config) -> dict:
    """Complete the backbone of a plain checkpoint.

    Args:
        weights (Weights): What was read of the file. Left as it is.
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
    tensors = weights.tensors
    reused = f'{backbone.stem_parts[-1]}.reused.'
    if any(name.removeprefix(PREFIX).startswith(reused) for name in tensors):
        raise ValueError(f'the checkpoint must be a plain one, but has a second stem already ({reused}*)')
    prefix = PREFIX if any(name.startswith(PREFIX) for name in tensors) else ''
    backbone.load_state_dict(place(weights, backbone, prefix), strict=False)
    state = {f'{prefix}{name}': tensor for name, tensor in backbone.state_dict().items()}
    fit = find_fit(
        {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}, backbone
    )
    beyond = {f'{prefix}{name.removeprefix(fit.inside)}' for name in fit.mismatch.left}
    for name, tensor in tensors.items():
        if not name.startswith(prefix) or name in beyond:
            state[name] = tensor
    # The backbone's tensors are of today's format, whatever the plain network's were of.
    meta = {key: value for key, value in weights.meta.items() if key not in ('cfg', KEY)}
    return dict(meta=meta, state_dict=state)


def main(argv: list[str] | None = None) -> None:
    """Adopt the checkpoint of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the plain network')
    parser.add_argument('target', type=Path, help='file to write, which must not exist yet')
    parser.add_argument('--config', required=True, help='config whose backbone has the second stem')
    parser.add_argument('--container', help='where in the file its weights lie, such as model_ema (default: found out)')
    args = parser.parse_args(argv)
    if args.target.exists():
        raise FileExistsError(f'{args.target} must not exist yet; remove it, or name another file')
    weights = read_weights(args.checkpoint, args.container)
    try:
        adopted = adopt(weights, read_config(args.config))
    except CheckpointMismatchError:  # names the file
        raise
    except ValueError as error:
        raise ValueError(f'{args.checkpoint}: {error}') from error
    atomic_write(args.target, serialise(adopted))
    added = len(adopted['state_dict']) - len(weights.tensors)
    print(f'{args.target}: {len(adopted["state_dict"])} tensors, {added} of them added to those of {weights}')


if __name__ == '__main__':
    sys.exit(run(main))
