# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Test a model of mmpretrain, mmdet or mmseg.

python tools/test.py configs/maskany_r50_in1k.py work_dirs/maskany_r50_in1k/epoch_100.pth --tta
"""

import argparse
import os
import sys
from pathlib import Path

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.registry import METRICS
from mmengine.runner import Runner
from torch.distributed.elastic.multiprocessing.errors import record

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany.engine import launch
from mmmaskany.engine.pictures import keep_all_pictures
from mmmaskany.registry import library_of, name_of
from mmmaskany.user_errors import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of the logs (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--out', help='write the predictions to a .pkl file; mmseg: or the label maps into a folder, as PNG'
    )
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], default='pred', help='what --out writes (default: pred)'
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--interval', type=int, default=1, help='show every N-th image')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that a window stays (default: 2)')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation, as the config's tta_* say")
    parser.add_argument('--amp', action='store_true', help='mixed precision')
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


def load_config(args: argparse.Namespace) -> Config:
    """Load the config and lay the command line over it.

    Args:
        args (argparse.Namespace): The command line.

    Returns:
        Config: The config.
    """
    cfg = launch.read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        use_tta(cfg)
    launch.predict_unlabelled(cfg)
    launch.collate_tensors(cfg)
    return cfg


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Turn on the library's visualization hook, whose arguments differ from library to library.

    Args:
        cfg (Config): The config; changed in place.
        args (argparse.Namespace): The command line.

    Raises:
        ValueError: If the config has no such hook.
    """
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need default_hooks.visualization, but the config has none')
    hook.update(show=args.show, interval=args.interval, wait_time=args.wait_time)
    if library_of(cfg) == 'mmpretrain':
        hook.update(enable=True, out_dir=args.show_dir)
    elif library_of(cfg) == 'mmdet':
        hook.update(draw=True, test_out_dir=args.show_dir)
    else:
        hook.draw = True
        if args.show_dir:
            cfg.visualizer.save_dir = args.show_dir


def use_tta(cfg: Config) -> None:
    """Put the model into the config's ``tta_model`` and feed it with ``tta_pipeline``.

    Args:
        cfg (Config): The config; changed in place.

    Raises:
        ValueError: If the config lacks one of them.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise ValueError(
            f'--tta needs tta_model and tta_pipeline in the config, but {" and ".join(missing)} is missing. What '
            "may be done to an image depends on the data: see the libraries' configs for examples"
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    # A checkpoint's weights are the averaged ones already, and an EMAHook would not find its own inside the tta_model.
    cfg.custom_hooks = [hook for hook in cfg.get('custom_hooks') or [] if not name_of(hook['type']).endswith('EMAHook')]


def dump_predictions(runner: Runner, out: str) -> None:
    """Let the evaluator write the predictions too.

    Args:
        runner (Runner): The runner of the test process.
        out (str): A ``.pkl`` file; with mmseg it may be a folder.

    Raises:
        ValueError: If it is neither.
    """
    metrics = runner.test_evaluator.metrics
    if out.endswith(('.pkl', '.pickle')):
        detection = library_of(runner.cfg) == 'mmdet'  # its metric compresses the masks
        dump = METRICS.build(dict(type='mmdet.DumpDetResults', out_file_path=out)) if detection else DumpResults(out)
        metrics.append(dump)
    elif library_of(runner.cfg) == 'mmseg':
        mmengine.mkdir_or_exist(out)
        for metric in metrics:
            metric.output_dir = out
    else:
        raise ValueError(f'--out must be a .pkl file, but got {out}')


def main(argv: list[str] | None = None) -> None:
    """Test."""
    args = parse_args(argv)
    cfg = load_config(args)
    launch.check_config(cfg)
    launch.check_load_from(cfg)
    notes = launch.read_all_images(cfg, ('test',)) + launch.count_mixed_classes(cfg)
    launch.check_files(cfg, ('test',), converters=Path(__file__).parent / 'dataset_converters')
    runner = launch.build_runner(cfg, notes + launch.start_processes(cfg))
    if args.show or args.show_dir:
        keep_all_pictures(runner)
    if args.out and args.out_item == 'pred':
        dump_predictions(runner, args.out)
    with launch.explain_lost_processes():
        metrics = runner.test()
    if not metrics and not args.out and not args.show and not args.show_dir:
        runner.logger.warning('There are no metrics: --out or --show-dir keeps the predictions.')
    if args.out and args.out_item == 'metrics' and runner.rank == 0:
        mmengine.dump(metrics, args.out)
    del runner
    launch.end_processes()


if __name__ == '__main__':
    sys.exit(run(record(main)))  # torchrun shows the error of the process that failed first
