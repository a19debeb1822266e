# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Fine-tune a suite of detectors or segmentors from one or several checkpoints and write one table.

    python tools/benchmarks/downstream.py detection CHECKPOINT --gpus 8
    python tools/benchmarks/downstream.py segmentation plain=PLAIN.pth MaskAny=CHECKPOINT --gpus 8
    python tools/benchmarks/downstream.py detection CHECKPOINT --slurm PARTITION --gpus 8 --jobs 5

The suites are the COCO configs in configs/detection and the ADE20K configs in configs/segmentation, each with the
backbone that the checkpoint belongs to. The first checkpoint is the baseline that the others are compared with. Every
run has a folder of its own; a finished one is not repeated and an interrupted one goes on, so the same command can be
stopped and started at will, and a run that fails does not stop the others. On another number of GPUs the learning rate
is scaled with the batch. The metrics are those of the last validation, never the best ones.
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.mismatch import find_mismatch
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine.checks.config import read_config
from mmmaskany.experiments.runs import Launch, Run, report, train_all
from mmmaskany.user_errors import run

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


class Suite(NamedTuple):
    """A task: its configs, the metrics that all of them give, and those that some give."""

    configs: str
    metrics: list[str]
    optional: list[str]


SUITES = {
    'detection': Suite('detection/*_coco.py', ['coco/bbox_mAP'], ['coco/segm_mAP']),
    'segmentation': Suite('segmentation/*_ade20k-*.py', ['mIoU'], []),
}
#: Entry configs at the top of configs/, by the names that they would have in the folder of their suite.
ENTRIES = {
    'maskany_r50_mask-rcnn_coco': 'detection/mask-rcnn_maskresnet50_fpn_1x_coco.py',
    'maskany_r50_upernet_ade20k': 'segmentation/maskresnet50_upernet_8xb2-160k_ade20k-512x512.py',
}
#: The part of a config's name that names its backbone; the suites' own ones, without variants.
BACKBONE = re.compile(r'(?<![^_])(maskany-r|maskresnet|r)\d+[-_]')
IN_SUITE = re.compile(r'(?<![^_])(maskany-r|maskresnet|r)50(-d8)?_')


class Start(NamedTuple):
    """A checkpoint to start from: what to call it, its file, the tensors of its backbone and which that is."""

    name: str
    path: Path
    tensors: dict
    backbone: str


def read_start(text: str, backbone: str | None) -> Start:
    """Read a checkpoint and find out which backbone it belongs to.

    Args:
        text (str): ``[NAME=]PATH``.
        backbone (str | None): The backbone, where it is said; else the checkpoint's tensors tell it.

    Returns:
        Start: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or holds no backbone.
    """
    name, sign, path = ('', '', text) if Path(text).is_file() else text.rpartition('=')
    path = Path(path)
    tensors = read_checkpoint(path)
    tensors = tensors.get('state_dict', tensors)
    own = {key.removeprefix('backbone.'): value for key, value in tensors.items() if key.startswith('backbone.')}
    if not own:
        raise ValueError(f"checkpoint {path} must hold the tensors of a 'backbone.', but has {list(tensors)[:3]}")
    if backbone is None:
        reused = {key.partition('.reused.')[0] for key in own if '.reused.' in key}
        backbone = 'plain' if not reused else 'maskresnet' if reused == {'stem'} else 'maskany'
    # work_dirs/NAME/epoch_100.pth, or a published file.
    default = path.parent.resolve().name if re.fullmatch(r'(epoch|iter)_\d+', path.stem) else path.stem
    return Start(name if sign else default, path.resolve(), own, backbone)


def suite_configs(task: str) -> list[Path]:
    """List the configs of a suite."""
    configs = [config for config in CONFIGS.glob(SUITES[task].configs) if IN_SUITE.search(config.stem)]
    entries = [CONFIGS / f'{entry}.py' for entry, name in ENTRIES.items() if name.startswith(f'{task}/')]
    return sorted([*configs, *entries], key=lambda config: (method(config), config.stem))


def method(config: Path) -> str:
    """Return the name of a config without its backbone: what is the same in a config and its twins."""
    return BACKBONE.sub('', Path(ENTRIES.get(config.stem, config)).stem, count=1)


def backbone_of(cfg: Config) -> str:
    """Return which kind of backbone a config has."""
    return {'mmmaskany.MaskAny': 'maskany', 'mmmaskany.MaskResNet': 'maskresnet'}.get(cfg.model.backbone.type, 'plain')


def check_fit(cfg: Config, start: Start) -> None:
    """Make sure that a checkpoint fills the backbone of a config.

    Args:
        cfg (Config): The config.
        start (Start): The checkpoint.

    Raises:
        ValueError: If it does not fill the backbone.
    """
    init_default_scope(cfg.default_scope)
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    try:
        if hasattr(backbone, 'dual_stem'):
            backbone.load_state_dict(start.tensors, strict=False)  # refuses what does not fit, and adopts
        elif mismatch := find_mismatch(backbone, start.tensors):
            raise ValueError(f'it must fill all {mismatch.wanted} tensors of {type(backbone).__name__}, but {mismatch}')
    except ValueError as error:
        raise ValueError(f'checkpoint {start.path} does not fit {cfg.filename}: {error}') from error


def make_runs(args: argparse.Namespace) -> list[Run]:
    """List the runs: every config with every checkpoint that belongs to its kind of backbone.

    Args:
        args (argparse.Namespace): The command line.

    Returns:
        list[Run]: The runs.

    Raises:
        FileNotFoundError: If a config or a checkpoint is missing.
        ValueError: If a checkpoint is none, no config has its kind of backbone, or it leaves a gap in one.
    """
    kinds = args.backbone * len(args.checkpoints) if len(args.backbone) == 1 else args.backbone
    if len(kinds) not in (0, len(args.checkpoints)):
        raise ValueError(f'--backbone must name one, or one for each checkpoint, but got {kinds}')
    starts = [read_start(*pair) for pair in zip_longest(args.checkpoints, kinds)]
    if len({start.name for start in starts}) < len(starts):
        raise ValueError(f'checkpoints must have names of their own, as NAME=PATH, but got {[s.name for s in starts]}')
    cfgs = {config: read_config(config) for config in args.configs or suite_configs(args.task)}
    pairs = []
    for start in starts:
        mine = [config for config, cfg in cfgs.items() if backbone_of(cfg) == start.backbone]
        if not mine:
            raise ValueError(
                f'there must be a config with the backbone of {start.path}, {start.backbone}, but there are only '
                f'{sorted({backbone_of(cfg) for cfg in cfgs.values()})}; --backbone names another'
            )
        for config in mine:
            check_fit(cfgs[config], start)
        pairs += [(config, start) for config in mine]
    pairs.sort(key=lambda pair: method(pair[0]))  # stable: checkpoints stay in their order
    return [
        Run(
            variant=start.name,
            config=config,
            seed=seed,
            options=[
                f'model.backbone.init_cfg.checkpoint={start.path}',
                *(['auto_scale_lr.enable=True'] if cfgs[config].get('auto_scale_lr') else []),
                *args.cfg_options,
            ],
            group=method(config),
        )
        for seed in args.seeds
        for config, start in pairs
    ]


def main(argv: list[str] | None = None) -> int:
    """Fine-tune and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=SUITES)
    parser.add_argument('checkpoints', nargs='+', metavar='[NAME=]CHECKPOINT', help='to start from; first: baseline')
    parser.add_argument(
        '--backbone',
        nargs='+',
        choices=['plain', 'maskany', 'maskresnet'],
        default=[],
        help='kind of backbone, for all checkpoints or for each (default: the one that its tensors belong to); '
        "'maskany' lets MaskAny adopt a plain checkpoint",
    )
    parser.add_argument('--configs', type=Path, nargs='+', help='other configs than the suite, of one or more kinds')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='seeds of each run (default: 0)')
    parser.add_argument('--work-dir', type=Path, help='folder of runs and table (default: work_dirs/downstream/TASK)')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='overrides for every run, as in tools/train.py')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    suite, work_dir = SUITES[args.task], args.work_dir or Path('work_dirs/downstream', args.task)
    try:
        launch, runs = Launch.from_args(args), make_runs(args)
        results, failures = train_all(runs, work_dir, suite.metrics, launch, optional=suite.optional)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    return report(results, failures, work_dir)


if __name__ == '__main__':
    sys.exit(run(main))
