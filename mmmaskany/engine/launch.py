# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What ``tools/train.py`` and ``tools/test.py`` do between a config and a Runner, for mmpretrain, mmdet and mmseg."""

import contextlib
import gc
import importlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import get_dist_info
from mmengine.hooks import CheckpointHook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmmaskany.checkpoints.atomic import reserve
from mmmaskany.checkpoints.format import MASKS, format_of
from mmmaskany.checkpoints.reading import read_weights
from mmmaskany.checkpoints.resume import find_resume_point, read_training_state
from mmmaskany.datasets.coco_reader import complete_reader
from mmmaskany.registry import library_of, name_of

from .checks.classification import head_classes, read_all_images  # noqa: F401 (the tools call them here)
from .checks.config import OptionAction, check_config, read_config  # noqa: F401 (the tools call them here)
from .checks.data import check_data
from .checks.finding import settle
from .hooks import LaunchCheckHook
from .seeding.replay import make_replayable

#: What gloo, NCCL and torch's store say where another process is gone.
_LOST = re.compile(r'gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|timed out|timeout', re.IGNORECASE)
_SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


def build_runner(cfg: Config, notes: Sequence[str] = ()) -> Runner:
    """Build the Runner of a config that was prepared, make it replayable and let it check what it is given.

    Args:
        cfg (Config): The config.
        notes (Sequence[str]): What the log should say about how it was prepared. Defaults to ().

    Returns:
        Runner: Ready for ``train()`` or ``test()``.
    """
    if cfg.get('default_scope') == 'mmdet':
        complete_reader()
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(LaunchCheckHook())
    for note in notes:
        runner.logger.warning(note)
    return make_replayable(runner)


# ---------------------------------------------------------------------- processes and devices


def start_processes(cfg: Config) -> list[str]:
    """Prepare a distributed run; on a machine without GPU start it with gloo, which MMEngine cannot do.

    MMEngine's own start asks for a GPU, its model wrapper names one, and SyncBN needs one.

    Args:
        cfg (Config): The config; its model wrapper and SyncBN are replaced where that is needed.

    Returns:
        list[str]: What the log should say about it.

    Raises:
        ValueError: If more processes are asked for than there are GPUs.
    """
    if cfg.launcher == 'none':
        return []
    if get_device() != 'cpu':
        wanted, found = int(os.environ.get('LOCAL_WORLD_SIZE', 1)), torch.cuda.device_count()
        if get_device() == 'cuda' and wanted > found:
            raise ValueError(
                f'processes on a machine must be at most its GPUs, {found}, but got {wanted}; '
                'CUDA_VISIBLE_DEVICES=-1 trains on the CPU'
            )
        return []

    _name_process(cfg.launcher)
    # Its functions take the group that there is when it is imported as a default argument. The model wrapper imports
    # it: then it would hold the group, and with it gloo's threads, to the very end, see end_processes.
    importlib.import_module('torch.distributed.nn.functional')
    torch.distributed.init_process_group('gloo')
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    notes = ['No GPU: the processes talk through gloo.']
    cfg.sync_bn = None
    if _replace_sync_bn(cfg.model):
        notes.append('No GPU: SyncBN is BN, with statistics of each process alone.')
    return notes


def end_processes() -> None:
    """End what a distributed run has between its processes, once all is done and nothing holds the Runner any more.

    Threads of gloo that are still there when Python ends may ask for its lock when there is none, which aborts a
    process that had finished ("terminate called without an active exception"). They end with the last that holds the
    group: the model wrapper, which goes with the Runner, in a circle of references that waits for a collection.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def explain_lost_processes() -> Iterator[None]:
    """Say what it means where a distributed run fails because another of its processes is gone.

    Raises:
        RuntimeError: In place of what the library of the connections says.
    """
    try:
        yield
    except RuntimeError as error:
        rank, world_size = get_dist_info()
        if world_size == 1 or not _LOST.search(str(error)):
            raise
        raise RuntimeError(
            f'process {rank} of {world_size} must reach the others, but one of them has ended or hangs: its own output '
            'says why. Once that is mended, a training goes on from its last checkpoint with --resume'
        ) from error


def _name_process(launcher: str) -> None:
    """Set what ``torch.distributed`` reads from the environment, as MMEngine does for a GPU."""
    env = os.environ
    if launcher == 'slurm':
        nodes = subprocess.run(
            ['scontrol', 'show', 'hostname', env['SLURM_NODELIST']], capture_output=True, text=True, check=True
        )
        env.setdefault('MASTER_ADDR', nodes.stdout.split()[0])
        env.update(RANK=env['SLURM_PROCID'], WORLD_SIZE=env['SLURM_NTASKS'], LOCAL_RANK=env['SLURM_LOCALID'])
    elif launcher == 'mpi':
        env.update(
            RANK=env['OMPI_COMM_WORLD_RANK'],
            WORLD_SIZE=env['OMPI_COMM_WORLD_SIZE'],
            LOCAL_RANK=env['OMPI_COMM_WORLD_LOCAL_RANK'],
        )
    env.setdefault('MASTER_PORT', '29500')


def _replace_sync_bn(node) -> int:
    """Turn every SyncBN of a config into BN and count them."""
    if isinstance(node, list | tuple):
        return sum(map(_replace_sync_bn, node))
    if not isinstance(node, dict):
        return 0
    found = name_of(node.get('type')) in _SYNC_BN
    if found:
        node['type'] = 'BN'
    return found + sum(map(_replace_sync_bn, node.values()))


def use_amp(cfg: Config) -> list[str]:
    """Train in mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU.

    Args:
        cfg (Config): The config; its optimizer wrapper is replaced.

    Returns:
        list[str]: What the log should say about it.

    Raises:
        ValueError: If the config has an optimizer wrapper of another kind.
    """
    wrapper = cfg.optim_wrapper
    name = name_of(wrapper.get('type', 'OptimWrapper'))
    if name == 'CpuAmpOptimWrapper':
        return []
    if name not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(f'mixed precision needs optim_wrapper.type to be OptimWrapper, but got {name}')
    if get_device() != 'cpu':
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
        return []
    for gpu_only in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(gpu_only, None)
    wrapper.type = 'mmmaskany.CpuAmpOptimWrapper'
    return ['No GPU: mixed precision is bfloat16 autocast on the CPU, without loss scaling.']


# ---------------------------------------------------------------------- training


def prepare_training(cfg: Config) -> list[str]:
    """Bring a config into the form in which every library trains safely.

    Checkpoints are written by :class:`~mmmaskany.engine.AtomicCheckpointHook`, a loss that is not finite ends the
    training (:class:`~mmmaskany.engine.NonFiniteLossHook`, ``default_hooks.non_finite``), automatic resuming finds the
    newest good checkpoint and takes over its seed, mixed precision fits the device, accumulated iterations count in
    ``auto_scale_lr``, and classification batches are tensors.

    Args:
        cfg (Config): The config; changed in place.

    Returns:
        list[str]: What the log should say about it.
    """
    notes = []
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if 'checkpoint' not in hooks:
        hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    if hooks.checkpoint and hooks.checkpoint.get('type') in (
        'CheckpointHook',
        'mmengine.CheckpointHook',
        CheckpointHook,
    ):
        hooks.checkpoint.type = 'mmmaskany.AtomicCheckpointHook'
    if hooks.setdefault('non_finite', dict(type='mmmaskany.NonFiniteLossHook')) is None:  # MMEngine takes no None
        del hooks.non_finite

    if name_of(cfg.optim_wrapper.get('type')) == 'AmpOptimWrapper':
        notes += use_amp(cfg)

    scale = cfg.get('auto_scale_lr') or {}
    accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
    if scale.get('enable') and accumulated > 1:
        notes.append(f'auto_scale_lr: {accumulated} accumulated iterations count as one batch.')
        scale.base_batch_size /= accumulated

    notes += count_mixed_classes(cfg)
    collate_tensors(cfg)
    randomness = cfg.setdefault('randomness', ConfigDict(seed=None))
    if randomness.pop('diff_rank_seed', False):
        notes.append('diff_rank_seed is left out: every rank draws its own numbers anyway.')
    return notes + _choose_resume_point(cfg)


def count_mixed_classes(cfg: Config) -> list[str]:
    """Tell mmpretrain's data preprocessor how many classes there are, where labels are mixed and it was forgotten.

    Args:
        cfg (Config): The config; changed in place.

    Returns:
        list[str]: What the log should say about it.
    """
    model = cfg.get('model') or {}
    preprocessor = model.get('data_preprocessor') or cfg.get('data_preprocessor') or ConfigDict()
    mixing = (model.get('train_cfg') or {}).get('augments') or preprocessor.get('batch_augments')
    classes = head_classes(model)
    if library_of(cfg) != 'mmpretrain' or not mixing or not classes or preprocessor.get('num_classes'):
        return []
    preprocessor.num_classes = classes
    if not model.get('data_preprocessor'):
        model.data_preprocessor = preprocessor
    return [f'data_preprocessor.num_classes is {classes}, as the head has it: labels that are mixed need it.']


def _choose_resume_point(cfg: Config) -> list[str]:
    """Settle ``resume``, which may be True (as for MMEngine), 'auto' or a file, ``load_from`` and the seed."""
    resume = cfg.get('resume')
    source = (cfg.get('load_from') if resume is True else resume) or 'auto'
    if not resume or '://' in source:
        return []
    if source == 'auto':
        point = find_resume_point(cfg.work_dir)
        if point is None:
            cfg.resume = False
            return [f'There is no checkpoint in {cfg.work_dir} to resume from: the training starts.']
        source, seed, written = point.path, point.seed, point.format
        notes = [point.note] if point.note else []
    else:
        checkpoint = read_training_state(source)
        seed, written, notes = checkpoint['meta'].get('seed'), format_of(checkpoint), []
    if written < MASKS and re.search('Pattern|[Mm]asking|MaskMix|MaskRegions|MaskObjects', str(cfg.to_dict())):
        notes.append(
            f'{source} is of format {written}, and since format {MASKS} a seed draws other masks: from here on those '
            'of this run are of the same kinds, but not the ones that it would have drawn without the interruption.'
        )
    cfg.resume, cfg.load_from = True, source
    if seed is not None:
        # Before anything is built: samplers draw from the seed that they are built with.
        if cfg.randomness.get('seed') not in (None, seed):
            notes.append(f'Resuming with the seed of {source}, {seed}, instead of {cfg.randomness.seed}.')
        cfg.randomness.seed = seed
    return notes


def collate_tensors(cfg: Config) -> None:
    """Stack the batches of mmpretrain configs that do not say how, as mmpretrain's own tools do.

    Args:
        cfg (Config): The config; changed in place.
    """
    if library_of(cfg) == 'mmpretrain':
        for name in ('train', 'val', 'test'):
            if cfg.get(f'{name}_dataloader'):
                cfg[f'{name}_dataloader'].setdefault('collate_fn', dict(type='default_collate'))


def predict_unlabelled(cfg: Config) -> None:
    """Test without metrics where the config has none, or mmpretrain's images have no labels; MMEngine refuses None.

    Args:
        cfg (Config): The config; its ``test_evaluator`` and ``test_cfg`` are changed.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if cfg.get('test_evaluator') is None or dataset.get('with_label') is False:
        cfg.test_evaluator = []
    if cfg.get('test_cfg') is None:
        cfg.test_cfg = ConfigDict()


# ---------------------------------------------------------------------- checks


def check_files(cfg: Config, splits: Sequence[str], converters: Path | None = None) -> None:
    """Make sure that the data is there and can be used, and that the work dir can be written.

    Args:
        cfg (Config): The config.
        splits (Sequence[str]): Which data is going to be used: 'train', 'val', 'test'.
        converters (Path, optional): Folder of the scripts that make data sets, for the advice. Defaults to None.

    Raises:
        FileNotFoundError: If data is missing. The message names the path, the config key and a way to get it.
        ValueError: If annotations or label maps cannot be used, see :mod:`mmmaskany.engine.checks.data`.
        OSError: If nothing can be written into the work dir. The message names it.
    """
    if _is_first_process():
        settle(finding for survey in check_data(cfg, splits, converters) for finding in survey.findings)
    reserve(cfg.work_dir)


def check_load_from(cfg: Config) -> None:
    """Make sure that the checkpoint of ``load_from`` can be read, before the model and the data are built.

    Args:
        cfg (Config): The config.

    Raises:
        FileNotFoundError: If it is on this machine and missing.
        ValueError: If it is no checkpoint.
    """
    if cfg.get('load_from') and '://' not in cfg.load_from:
        read_weights(cfg.load_from, cfg.get('load_from_container'))


def check_pretrained(node: ConfigDict, key: str = 'model') -> None:
    """Make sure that the checkpoints that parts of a model start from can be read and hold those parts.

    Args:
        node (ConfigDict): The config of the model, or of a part of it.
        key (str): Its config key, for the errors. Defaults to 'model'.

    Raises:
        FileNotFoundError: If a checkpoint on this machine is missing.
        ValueError: If it is no checkpoint, or nothing in it has the prefix that is asked for.
    """
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            check_pretrained(child, f'{key}.{index}')
    elif isinstance(node, dict):
        if name_of(node.get('type')) in ('Pretrained', 'PretrainedInit'):
            _check_start(node, key)
        for name, child in node.items():
            check_pretrained(child, f'{key}.{name}')


def _check_start(init_cfg: ConfigDict, key: str) -> None:
    path, prefix = init_cfg['checkpoint'], (init_cfg.get('prefix') or '').rstrip('.')
    if '://' in path:
        return
    other = f'--cfg-options {key}.checkpoint=PATH names another checkpoint'
    try:
        names = list(read_weights(path, init_cfg.get('container')).tensors)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{key}.checkpoint must be an existing file to start from, but got {path}: train it first; {other}'
        ) from error
    if prefix and not any(name.startswith(f'{prefix}.') for name in names):
        raise ValueError(
            f"{key}: the tensors of checkpoint {path} must begin with '{prefix}.', but it has {names[:3]}; {other}"
            + (f', and {key}.prefix=None takes the tensors of a bare backbone' if names else '')
        )


def _is_first_process() -> bool:
    """Tell whether this is the only process, or the first one that a launcher started."""
    return all(os.environ.get(name, '0') == '0' for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
