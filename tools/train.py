# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train a model of mmpretrain, mmdet or mmseg.

python tools/train.py configs/maskany_r50_in1k.py
python tools/train.py configs/maskany_r50_in1k.py --resume    # go on after a kill, exactly
"""

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import Config
from torch.distributed.elastic.multiprocessing.errors import record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany.engine import launch
from mmmaskany.user_errors import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint, or, without a value, from the newest one in the work dir that loads',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size of all processes'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=launch.OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='change config values',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by some launchers')
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> tuple[Config, list[str]]:
    """Load the config and lay the command line over it.

    Args:
        args (argparse.Namespace): The command line.

    Returns:
        tuple[Config, list[str]]: The config, and what the log should say about it.
    """
    cfg = launch.read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    notes = []

    if args.resume:
        cfg.resume = args.resume
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        notes += launch.use_amp(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size, but {args.config} has none')
        cfg.auto_scale_lr.enable = True
    return cfg, notes


def main(argv: list[str] | None = None) -> None:
    """Train."""
    args = parse_args(argv)
    cfg, notes = load_config(args)
    launch.check_config(cfg)
    launch.check_load_from(cfg)
    launch.check_pretrained(cfg.model)
    notes += launch.read_all_images(cfg, ('train', 'val'))
    launch.check_files(cfg, ('train', 'val'), converters=Path(__file__).parent / 'dataset_converters')
    notes += launch.start_processes(cfg)
    notes += launch.prepare_training(cfg)
    with launch.explain_lost_processes():
        launch.build_runner(cfg, notes).train()
    launch.end_processes()


if __name__ == '__main__':
    sys.exit(run(record(main)))  # torchrun shows the error of the process that failed first
