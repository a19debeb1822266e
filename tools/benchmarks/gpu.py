# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure and test on one GPU all that a CPU cannot tell, in pieces of a few minutes.

    python tools/benchmarks/gpu.py work_dirs/gpu                       # all, or what is left of it
    python tools/benchmarks/gpu.py work_dirs/gpu --only 'step-*'       # some of it
    python tools/benchmarks/gpu.py work_dirs/gpu --dry-run             # says the commands

Each piece is one command of another tool, whose output is kept in a file of its name; a piece that ended well is not
repeated as long as its command is the same, so all can be stopped and started at will; another folder measures anew.
``step-`` are training steps of classifiers against the plain ones, eager and compiled as a whole; ``masking-`` is
masking alone; ``sub-`` and ``mix-`` are MaskSub and MixMask; ``operators`` builds mmcv's operators for this GPU alone;
``tests`` are all tests that need a GPU; ``dense-`` are fifty training steps and tests of detectors and segmentors
against their plain twins, with and without mixed precision, and ``train-`` whole trainings of small ones on the digit
scenes. Everything is channels_last and in mixed precision unless the name says otherwise. ``--tiny`` tries the commands
themselves, on a CPU.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.user_errors import run

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ('Swin-T', 'ConvNeXt-T', 'ViT-B/16', 'EfficientNetV2-S')
SUB = 'configs/masksub/{}vit-base-p16_mae-pre_8xb128-coslr-100e_in1k.py'
MIX = 'configs/mixmask/{}mocov2_resnet50_8xb32-coslr-200e_in1k.py'
DENSE = {
    'faster-rcnn': ('configs/detection/faster-rcnn_{}r50_fpn_1x_coco.py', 4),
    'mask-rcnn': ('configs/detection/mask-rcnn_{}r50_fpn_1x_coco.py', 4),
    'upernet': ('configs/segmentation/{}r50_upernet_8xb2-160k_ade20k-512x512.py', 8),
    'mask2former': ('configs/segmentation/{}r50_mask2former_8xb2-160k_ade20k-512x512.py', 4),
}
TRAININGS = {
    'mask-rcnn': 'configs/detection/mask-rcnn_{}r18-narrow-scratch_fpn_8e_digits.py',
    'sem-fpn': 'configs/segmentation/{}r18-narrow-scratch_sem-fpn_1xb8-300_digits-96x96.py',
}


def pieces(tiny: bool = False) -> dict[str, str]:
    """Return the commands by the names of their pieces.

    Args:
        tiny (bool): Whether for a CPU and a few seconds each. Defaults to False.

    Returns:
        dict[str, str]: Shell commands, to be run in the repository; ``{folder}`` stands for where outputs go, ``{out}``
        for a file of figures.
    """
    device = '--device cpu' if tiny else '--device cuda'

    def measure(tool: str, batch: int, turns: int, more: str, amp: bool = True, size: str = '') -> str:
        batch, turns, sizes = (2, 1, f'{size} --warmup 0') if tiny else (batch, turns, '')
        mixed = '--amp' if amp else ''
        return ' '.join(
            f'python tools/analysis_tools/{tool}.py {more} {device} {mixed} --batch {batch} --turns {turns} {sizes} '
            '--out {out}'.split()
        )

    found = {}
    for kind in ('', '--compile'):
        suffix = '-compiled' if kind else ''
        depth = '--depth 18' if tiny else ''
        found[f'step-resnet{suffix}'] = measure('benchmark_train_step', 256, 15, f'{depth} {kind}', size='--size 128')
        for name in FAMILIES:
            piece = f'step-{name.lower().replace("/", "-")}{suffix}'
            found[piece] = measure('benchmark_train_step', 128, 15, f'--families {name} {kind}')
    tiny_size = '--size 64 --batch 2 --warmup 0' if tiny else ''
    for fill in ('constant', 'black'):
        command = f'python tools/analysis_tools/benchmark_masking.py --no-step {device} {tiny_size} --fill {fill}'
        found[f'masking-{fill}'] = f'{command} --turns {2 if tiny else 25} --out {{out}}'
    small = '--size 64 64'
    found['sub-vit-base'] = measure('benchmark_configs', 128, 15, f'{SUB.format("")} {SUB.format("masksub_")}')
    found['mix-moco'] = measure('benchmark_configs', 32, 15, f'{MIX.format("")} {MIX.format("mixmask-")}', size=small)
    found['operators'] = 'true' if tiny else 'bash tools/misc/build_operators.sh'
    found['tests'] = 'python -m pytest -q -m gpu tests'
    for name, (config, batch) in DENSE.items():
        for amp in (True, False):
            both = f'{config.format("")} {config.format("maskany-")}'
            found[f'dense-{name}{"" if amp else "-single"}'] = measure('benchmark_configs', batch, 50, both, amp, small)
    found['digits'] = 'python tools/dataset_converters/digits.py'
    for name, config in TRAININGS.items():
        for variant in ('', 'maskany-'):
            for amp in ('--amp', ''):
                piece = f'train-{name}-{variant or "plain-"}{"mixed" if amp else "single"}'
                found[piece] = f'python tools/train.py {config.format(variant)} {amp} --work-dir {{folder}}/{piece}'
    return found


def main(argv: list[str] | None = None) -> int:
    """Run what is left and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='where outputs and figures go')
    parser.add_argument('--only', nargs='+', default=['*'], metavar='NAME', help='names of pieces; * stands for any')
    parser.add_argument('--tiny', action='store_true', help='tries the commands on a CPU, with tiny images')
    parser.add_argument('--dry-run', action='store_true', help='say the commands and stop')
    args = parser.parse_args(argv)
    found = pieces(args.tiny)
    for only in args.only:
        if not fnmatch.filter(found, only):
            raise ValueError(f'--only must be of {", ".join(found)}, but got {only}')
    chosen = {name: found[name] for name in found if any(fnmatch.fnmatch(name, only) for only in args.only)}
    if not (args.tiny or args.dry_run or torch.cuda.is_available()):
        raise ValueError('torch must see a GPU, but sees none: --tiny tries the commands on a CPU')
    folder = args.folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'FOLDER must be a folder, but {folder} is a file')
    failed = []
    for name, command in chosen.items():
        command = command.replace('{out}', shlex.quote(str(folder / f'{name}.json')))
        command = command.replace('{folder}', shlex.quote(str(folder)))
        done, output = folder / f'{name}.ok', folder / f'{name}.txt'
        if args.dry_run:
            print(f'{name}: {command}')
            continue
        if done.exists() and done.read_text() == command:
            print(f'{name}: done before')
            continue
        print(f'{name} ...', end=' ', flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        env = dict(os.environ, PATH=f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}')
        with output.open('w') as file:
            ended = subprocess.run(['bash', '-c', command], cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)
        status = ended.returncode
        print(f'{"done" if status == 0 else f"failed with exit code {status}"} in {time.monotonic() - start:.0f} s')
        if status == 0:
            done.write_text(command)
        else:
            failed.append(name)
            print(''.join(f'  {line}\n' for line in output.read_text().splitlines()[-5:]), end='')
    if failed:
        print(
            f'failed: {" ".join(failed)}; the whole output of each is in {folder}. Run again: the rest is not repeated.'
        )
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(run(main))
