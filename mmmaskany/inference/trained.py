# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Networks that were trained, found by the folder that they were trained in."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict
from torch import nn

from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.reading import silence
from mmmaskany.checkpoints.resume import find_resume_point


class FoundRun(NamedTuple):
    """A run that has a checkpoint.

    Args:
        folder (Path): Its work dir.
        config (Path): The config in it.
        checkpoint (Path): The checkpoint that is taken.
        notes (tuple[str, ...]): What a user should know about the choice.
    """

    folder: Path
    config: Path
    checkpoint: Path
    notes: tuple[str, ...] = ()


class Trained(NamedTuple):
    """A network with the weights that its run ended with.

    Args:
        model (nn.Module): The network, in evaluation mode.
        cfg (Config): Its config.
        classes (tuple[str, ...] | None): What its classes are called, None where nothing says it.
        palette (list | None): Their colours, where something says it.
    """

    model: nn.Module
    cfg: Config
    classes: tuple[str, ...] | None
    palette: list | None


def find_run(folder: str | os.PathLike) -> FoundRun:
    """Find the run in a folder: the work dir of one training, or what holds several, as ``mmmaskany finetune`` leaves.

    Of several the one of MaskAny is taken where there is such a variant, and its first seed.

    Args:
        folder (str | os.PathLike): The folder, or a checkpoint in a work dir.

    Returns:
        FoundRun: The run. Its notes say which other ones there are, and what is wrong with its last checkpoint.

    Raises:
        FileNotFoundError: If there is no such folder, or no config or checkpoint in it.
        ValueError: If none of the checkpoints can be read.
    """
    folder = Path(folder).expanduser()
    if folder.is_file() and folder.suffix == '.pth':
        return FoundRun(folder.parent, _config(folder), folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'DIR must be the folder of a training, but {folder} does not exist or is a file')
    found = [folder] if _is_run(folder) else _runs_below(folder) or [folder] * _has_checkpoint(folder)
    if not found:
        configs = [*folder.rglob('*.py')]
        raise FileNotFoundError(
            f'DIR must hold a checkpoint (*.pth), but {folder} has none'
            + (
                ': its run has not come to its first one yet; `python tools/train.py CONFIG --resume` goes on'
                if configs
                else ' and no config either: is it the work dir of a training?'
            )
        )
    chosen, notes = found[0], []
    if len(found) > 1:
        others = ', '.join(str(path.relative_to(folder)) for path in found[1:4]) + (', ...' if len(found) > 4 else '')
        notes.append(
            f'{folder} holds {len(found)} runs: {chosen.relative_to(folder)} is taken; name another one by its own '
            f'folder ({others})'
        )
    point = find_resume_point(chosen)
    if point is not None:
        notes += [point.note.replace('Resuming from', 'Taking')] if point.note else []
        checkpoint = Path(point.path)
    else:  # weights alone, as of publish_model.py
        checkpoint = max(chosen.glob('*.pth'), key=lambda path: path.stat().st_mtime_ns)
    return FoundRun(chosen, _config(checkpoint), checkpoint, tuple(notes))


def read_scalars(folder: str | os.PathLike) -> list[dict]:
    """Read what a run logged, over all its starts.

    Args:
        folder (str | os.PathLike): Its work dir.

    Returns:
        list[dict]: What was logged at a time, the oldest first: of training steps with 'lr', of validations without.
    """
    records = []
    for path in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        records += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return records


def metrics_of(record: dict) -> dict[str, float]:
    """Return what a validation measured, of what was logged with it.

    Args:
        record (dict): One of :func:`read_scalars`, of a validation.

    Returns:
        dict[str, float]: Its metrics by name.
    """
    return {key: value for key, value in record.items() if key not in ('time', 'data_time', 'step')}


def _has_checkpoint(folder: Path) -> bool:
    return any(folder.glob('*.pth'))


def _is_run(folder: Path) -> bool:
    """Tell whether a folder is the work dir of a training: what several start from has no config beside it."""
    return _has_checkpoint(folder) and any((*folder.glob('*.py'), *folder.glob('*/vis_data/config.py')))


def _runs_below(folder: Path) -> list[Path]:
    """List the runs below a folder: MaskAny before other variants, then by the numbers and letters of their paths."""

    def rank(path: Path) -> tuple:
        own = path.relative_to(folder)
        parts = re.split(r'(\d+)', str(own))  # every second one is a number
        parts[1::2] = map(int, parts[1::2])
        return 'maskany' not in [part.lower() for part in own.parts], parts

    return sorted((path for path in folder.rglob('*') if path.is_dir() and _has_checkpoint(path)), key=rank)


def _config(checkpoint: Path) -> Path:
    """Find the config of a checkpoint in its folder: of its own name, or the newest that is of no other one's."""
    own, folder = checkpoint.with_suffix('.py'), checkpoint.parent
    if own.is_file():
        return own
    configs = [path for path in folder.glob('*.py') if path.is_file() and not path.with_suffix('.pth').is_file()]
    configs = configs or [*folder.glob('*/vis_data/config.py')]
    if not configs:
        raise FileNotFoundError(f'{folder} must hold the config of its training (*.py), but has none')
    return max(configs, key=lambda path: path.stat().st_mtime_ns)


def load_trained(run: FoundRun, device: str | None = None) -> Trained:
    """Build the network of a run and fill it from its checkpoint.

    Args:
        run (FoundRun): The run.
        device (str | None): Where to; None is the first GPU, or the CPU where there is none. Defaults to None.

    Returns:
        Trained: The network.

    Raises:
        ValueError: If the checkpoint is of another network than the config, or the config of no network of ours.
    """
    from mmengine.device import get_device
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import MODELS, init_default_scope

    from mmmaskany.engine.checks.config import read_config
    from mmmaskany.engine.hooks.launch_check_hook import check_checkpoint

    cfg = read_config(str(run.config))
    scope = cfg.get('default_scope')
    if scope not in ('mmpretrain', 'mmdet', 'mmseg') or 'model' not in cfg:
        raise ValueError(
            f'{run.config} must be the config of a classifier, detector or segmentor, with default_scope and model, '
            f'but has default_scope={scope!r}'
        )
    init_default_scope(scope)
    _start_from_nothing(cfg.model)
    if scope == 'mmpretrain':
        cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor') or ConfigDict())
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    checkpoint = read_checkpoint(run.checkpoint)
    check_checkpoint(model, checkpoint, str(run.checkpoint), complete=True)
    meta = dict((checkpoint.get('meta') or {}).get('dataset_meta') or cfg.get('metainfo') or {})
    meta = {key.lower(): value for key, value in meta.items()}  # mmdet's old files have CLASSES
    classes = meta.get('classes')
    model = model.to(device or get_device())
    model.eval()
    return Trained(model, cfg, None if classes is None else tuple(map(str, classes)), meta.get('palette'))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what the libraries say on the way, by print or at level INFO, out of standard output: results go there."""
    with silence(), contextlib.redirect_stdout(sys.stderr):
        yield


def _start_from_nothing(node: object) -> None:
    """Let nothing be downloaded for a network that is filled from a checkpoint."""
    if isinstance(node, list | tuple):
        for child in node:
            _start_from_nothing(child)
    elif isinstance(node, dict):
        if str(node.get('type')).endswith('TIMMBackbone'):
            node.update(pretrained=False, checkpoint_path='')
        for child in node.values():
            _start_from_nothing(child)
