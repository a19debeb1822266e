# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train a list of runs, each in a folder of its own, and put what they gave into one table.

A finished run is not repeated and an interrupted one goes on, so the same list can be stopped and started at will::

    runs = [Run(variant, config, seed) for seed in (0, 1, 2) for variant, config in variants.items()]
    results, failures = train_all(runs, 'work_dirs/compare', ['mIoU'], Launch(gpus=8))

The metrics are those of the last validation, never the best one: choosing an epoch by the test data would flatter
every variant.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import os
import queue
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.inference.trained import metrics_of, read_scalars

from .processes import start_process
from .tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

try:
    import fcntl
except ImportError:  # not on Windows, where nothing keeps two trainings out of one folder
    fcntl = None

#: How a metric is shown: the title of its column, and what makes its values percent.
METRICS = {
    'accuracy/top1': ('top-1 (%)', 1),
    'coco/bbox_mAP': ('box AP (%)', 100),
    'coco/segm_mAP': ('mask AP (%)', 100),
    'mIoU': ('mIoU (%)', 1),
}
#: The metric that counts, by the scope of a config.
METRIC_OF = {'mmpretrain': 'accuracy/top1', 'mmdet': 'coco/bbox_mAP', 'mmseg': 'mIoU'}


def available_cores() -> int:
    """Return how many cores this process may use: fewer than the machine has under taskset, SLURM or a cpuset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        variant (str): What is compared, such as 'MaskAny'; a row of the table and a folder.
        config (Path): The config file.
        seed (int): Goes into ``randomness.seed``. Defaults to 0.
        options (Sequence[str]): ``KEY=VALUE`` as for ``tools/train.py --cfg-options``. Defaults to ().
        env (Mapping[str, str]): Changes to the environment of the training. Defaults to {}.
        group (str): Variants are compared within a group, such as a detector; a folder around theirs. Defaults to '',
            for none.
        validates (bool): Whether it ends with a validation; pre-training may have none. Defaults to True.

    Raises:
        ValueError: If variant or group cannot be the name of a folder.
    """

    variant: str
    config: Path
    seed: int = 0
    options: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    group: str = ''
    validates: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, 'config', Path(self.config))
        for name in (self.variant, self.group or '-'):
            if name in ('', '.', '..') or Path(name).name != name:
                raise ValueError(f'variant and group of a run must be names of folders, but got {name!r}')

    def __str__(self) -> str:
        return ' '.join(filter(None, (self.group, self.variant, f'seed {self.seed}')))

    @property
    def folder(self) -> Path:
        """Path: Its work dir, below that of all runs."""
        return Path(self.group, self.variant, f'seed{self.seed}')

    def checkpoint(self, work_dir: str | os.PathLike) -> Path:
        """Find what it ended with.

        Args:
            work_dir (str | os.PathLike): Folder of all runs.

        Returns:
            Path: Its last checkpoint, wherever the folder was moved since.
        """
        folder = Path(work_dir) / self.folder
        return folder / Path((folder / 'last_checkpoint').read_text().strip()).name

    @property
    def all_options(self) -> list[str]:
        """list[str]: The options and the seed."""
        return [f'randomness.seed={self.seed}', *self.options]


@dataclass(frozen=True)
class Result:
    """What a finished run gave.

    Args:
        group (str): As in :class:`Run`.
        variant (str): As in :class:`Run`.
        seed (int): As in :class:`Run`.
        config (str): Name of the config without '.py'.
        options (list[str]): What was changed in it.
        metrics (dict[str, float]): All that the last validation measured; nothing without one.
        step (float | None): Seconds of a training step without waiting for data, the median over the log.
        memory (int | None): Peak memory of a GPU in MB; None on a CPU.
    """

    group: str
    variant: str
    seed: int
    config: str
    options: list[str]
    metrics: dict[str, float]
    step: float | None
    memory: int | None


@dataclass(frozen=True)
class Launch:
    """How runs are started: here, one after another or several at a time, or under slurm.

    Args:
        gpus (int): Processes of each run, one per GPU; on a machine without GPU that many CPU processes. 1 starts
            ``tools/train.py``, more start ``tools/dist_train.sh``. Defaults to 1.
        jobs (int): Runs at a time. Cores are divided among them, and GPUs shared out. Defaults to 1.
        partition (str, optional): Slurm partition: ``tools/slurm_train.sh`` starts the runs, which understands
            ``GPUS_PER_NODE``, ``CPUS_PER_TASK`` and ``SRUN_ARGS``. Defaults to None.

    Raises:
        ValueError: If a number is below 1.
    """

    gpus: int = 1
    jobs: int = 1
    partition: str | None = None

    def __post_init__(self) -> None:
        for name in ('gpus', 'jobs'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be at least 1, but got {getattr(self, name)}')

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of a command line that :meth:`from_args` reads.

        Args:
            parser (argparse.ArgumentParser): The parser.
        """
        parser.add_argument(
            '--jobs', type=int, default=1, help='runs at a time (default: 1); cores and GPUs are shared'
        )
        parser.add_argument('--gpus', type=int, default=1, help='processes of each run, one per GPU (default: 1)')
        parser.add_argument('--slurm', metavar='PARTITION', help='start the runs in this slurm partition')

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Launch:
        """Make it from a command line.

        Args:
            args (argparse.Namespace): What the parser of :meth:`add_arguments` gave.

        Returns:
            Launch: How to start the runs.

        Raises:
            ValueError: If a number is below 1.
        """
        return cls(gpus=args.gpus, jobs=args.jobs, partition=args.slurm)

    def command(self, run: Run, folder: Path, slot: int = 0) -> tuple[list[str], dict[str, str]]:
        """Write the command of a run.

        Args:
            run (Run): The run.
            folder (Path): Its work dir.
            slot (int): Which of the runs at a time it is, from 0. Defaults to 0.

        Returns:
            tuple[list[str], dict[str, str]]: The command and its environment.
        """
        options = ['--resume', 'auto', '--cfg-options', *run.all_options]
        # The launch scripts must not look for another interpreter.
        env = {**os.environ, 'PYTHON': sys.executable}
        if self.partition is not None:
            name = '-'.join(str(run).split())
            command = [_tool('slurm_train.sh'), self.partition, name, str(run.config), str(folder), *options]
            env.update(GPUS=str(self.gpus), GPUS_PER_NODE=env.get('GPUS_PER_NODE', str(min(self.gpus, 8))))
            return command, {**env, **run.env}

        threads = str(max(1, available_cores() // (self.jobs * self.gpus)))
        env.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        # Threads that spin while they wait slow a run many times over where anything else needs the cores.
        env.setdefault('OMP_WAIT_POLICY', 'passive')
        if devices := _visible_gpus():
            mine = [devices[(slot * self.gpus + index) % len(devices)] for index in range(self.gpus)]
            env['CUDA_VISIBLE_DEVICES'] = ','.join(dict.fromkeys(mine))
        if self.gpus == 1:
            command = [sys.executable, _tool('train.py'), str(run.config)]
        else:
            command = [_tool('dist_train.sh'), str(run.config), str(self.gpus)]
            env['PORT'] = _free_port()
        return [*command, '--work-dir', str(folder), *options], {**env, **run.env}


def _tool(name: str) -> str:
    """Find a script of tools/: beside the package in a checkout, in its .mim folder once installed."""
    package = Path(__file__).resolve().parents[1]
    for tools in (package / '.mim' / 'tools', package.parent / 'tools'):
        if (tools / name).is_file():
            return str(tools.resolve() / name)  # in an editable install .mim is made of links
    raise FileNotFoundError(f'tools/{name} must lie beside the package or in its .mim folder, but {package} has none')


def _visible_gpus() -> list[str]:
    """List the GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named is None:
        return [str(index) for index in range(torch.cuda.device_count())]
    return [name for name in named.split(',') if name and name != '-1']


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


# ---------------------------------------------------------------------- one run


def read_result(run: Run, folder: str | os.PathLike) -> Result:
    """Read what a run logged, over all its starts.

    Args:
        run (Run): A run that ended.
        folder (str | os.PathLike): Its work dir.

    Returns:
        Result: What it gave.

    Raises:
        ValueError: If it should have ended with a validation, and did not.
    """
    records = read_scalars(folder)
    # MMEngine validates the last epoch or iteration whatever the interval.
    if run.validates and (not records or 'lr' in records[-1]):
        raise ValueError(f'{run} must end with a validation, but the logs in {folder} do not')
    steps = [record for record in records if 'lr' in record]
    times = [record['time'] - record.get('data_time', 0) for record in steps if 'time' in record]
    memory = [record['memory'] for record in steps if 'memory' in record]
    metrics = metrics_of(records[-1]) if run.validates else {}
    return Result(
        group=run.group,
        variant=run.variant,
        seed=run.seed,
        config=run.config.stem,
        options=run.all_options,
        metrics=metrics,
        step=statistics.median(times) if times else None,
        memory=max(memory) if memory else None,
    )


def _read_result(path: Path) -> Result:
    found = json.loads(path.read_text())
    if 'arm' in found:  # what it was called in the first runs
        found['variant'] = found.pop('arm')
    return Result(**found)


def train(
    run: Run,
    work_dir: str | os.PathLike,
    launch: Launch | None = None,
    slot: int = 0,
    start: Callable[..., int] = start_process,
) -> Result:
    """Train one run, go on where it was interrupted, or return what it gave before.

    Its output is appended to ``train.log``, what it gave is written to ``result.json``.

    Args:
        run (Run): The run.
        work_dir (str | os.PathLike): Folder of all runs.
        launch (Launch, optional): How to start it. Defaults to ``Launch()``.
        slot (int): Which of the runs at a time it is, from 0. Defaults to 0.
        start (Callable): Starts its process and returns the exit code, as :func:`~.processes.start_process`.

    Returns:
        Result: What it gave.

    Raises:
        ValueError: If the folder holds a run of another config, of this one before it was edited, or with other
            options, or the training did not end with a validation.
        RuntimeError: If the training failed, when the message ends with the end of its output, or if another process
            trains in the folder.
    """
    folder = Path(work_dir) / run.folder
    asked, done, log = folder / 'run.json', folder / 'result.json', folder / 'train.log'
    what = dict(config=run.config.stem, options=run.all_options)
    if asked.is_file():
        before = json.loads(asked.read_text())
        before.pop('texts', None)
        if before != what:
            raise ValueError(
                f'{folder} must hold the run {what}, but holds {before}: choose another work dir, or delete it'
            )
    check_not_edited(run, work_dir)
    if done.is_file():
        return _read_result(done)
    _write_json(asked, dict(what, texts=_texts_of(run.config)))

    began = time.time()
    command, env = (launch or Launch()).command(run, folder, slot)
    with _claim(folder) as inherited, log.open('a') as out:
        code = start(command, env, out, inherited)
    if code:
        tail = '\n'.join(log.read_text(errors='replace').splitlines()[-15:])
        raise RuntimeError(f'{run} failed with exit code {code}; the end of {log}:\n{tail}')
    result = read_result(run, folder)
    _write_json(done, asdict(result))
    print(f'{run}: done in {time.time() - began:.0f} s', flush=True)
    return result


def check_not_edited(run: Run, work_dir: str | os.PathLike) -> None:
    """Make sure that what a run trained already was trained by its config as it is now, comments aside.

    Args:
        run (Run): The run.
        work_dir (str | os.PathLike): Folder of all runs.

    Raises:
        ValueError: If the config, or one that it is based on, was edited since.
    """
    folder = Path(work_dir) / run.folder
    trained = (folder / 'result.json').is_file() or (folder / 'last_checkpoint').is_file()
    if not trained or not (folder / 'run.json').is_file():
        return
    now = _texts_of(run.config)
    before = json.loads((folder / 'run.json').read_text()).get('texts', now)  # which older runs do not state
    if edited := sorted(name for name in {*before, *now} if before.get(name) != now.get(name)):
        raise ValueError(
            f'{folder} was begun by another {" and ".join(edited)}, and a run must be of one config: undo what was '
            'edited there, or delete the folder of the run to train it anew'
        )


def _texts_of(config: Path) -> dict[str, str]:
    """Return digests of what a config and those that it is based on say, comments aside. Nothing of it is run."""
    texts: dict[Path, str] = {}
    files = [config]
    while files:
        file = files.pop().resolve()
        if file in texts or not file.is_file():
            continue
        texts[file] = file.read_text(errors='replace')
        with contextlib.suppress(SyntaxError, TypeError, ValueError):  # no Python, or broken: its training will say so
            code = ast.parse(texts[file])
            texts[file] = ast.dump(code)
            for line in code.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == '_base_':
                    bases = ast.literal_eval(line.value)
                    files += [file.parent / base for base in ([bases] if isinstance(bases, str) else bases)]
    return {
        os.path.relpath(file, config.resolve().parent): hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        for file, text in texts.items()
    }


@contextlib.contextmanager
def _claim(folder: Path) -> Iterator[list[int]]:
    """Lock a folder for a training, which must inherit the file: it may survive the process that started it."""
    if fcntl is None:
        yield []
        return
    with open(folder / 'lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(f'{folder} must not be in use, but another process trains there') from error
        yield [lock.fileno()]


def _write_json(path: Path, content: object) -> None:
    atomic_write(path, (json.dumps(content, indent=2) + '\n').encode())


# ---------------------------------------------------------------------- all runs


def train_all(
    runs: Iterable[Run],
    work_dir: str | os.PathLike,
    metrics: Sequence[str],
    launch: Launch | None = None,
    optional: Sequence[str] = (),
    start: Callable[..., int] = start_process,
) -> tuple[list[Result], list[str]]:
    """Train runs and write what they gave to ``table.md`` and ``results.json``, anew whenever one is finished.

    A run that fails does not stop the others.

    Args:
        runs (Iterable[Run]): The runs, in the order to start them. The first variant of each group is the baseline.
        work_dir (str | os.PathLike): Folder of all runs and of the table.
        metrics (Sequence[str]): Metrics of the table, which every run must give.
        launch (Launch, optional): How to start them. Defaults to ``Launch()``.
        optional (Sequence[str]): Metrics of the table that only some runs give, such as the mask AP. Defaults to ().
        start (Callable): Starts the process of a run and returns the exit code, as
            :func:`~mmmaskany.experiments.processes.start_process`.

    Returns:
        tuple[list[Result], list[str]]: The results, in the order of the runs, and what went wrong.

    Raises:
        FileNotFoundError: If a config is missing.
        ValueError: If two runs have the same group, variant and seed, or a config was edited since one was trained;
            nothing is written.
    """
    runs, launch, work_dir = list(runs), launch or Launch(), Path(work_dir)
    if missing := [str(config) for config in dict.fromkeys(run.config for run in runs) if not config.is_file()]:
        raise FileNotFoundError(f'configs must be existing files, but there is no {", ".join(missing)}')
    folders = [run.folder for run in runs]
    if twice := sorted({str(folder) for folder in folders if folders.count(folder) > 1}):
        raise ValueError(f'group, variant and seed of a run must be its own, but these are given twice: {twice}')
    for run in runs:
        check_not_edited(run, work_dir)
    print(f'{len(runs)} run{"s" * (len(runs) != 1)}, {launch.jobs} at a time, in {work_dir}', flush=True)

    results: dict[int, Result] = {}
    failures: dict[int, str] = {}
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(launch.jobs):
        slots.put(slot)

    def one(run: Run) -> Result:
        slot = slots.get()
        try:
            result = train(run, work_dir, launch, slot, start)
        finally:
            slots.put(slot)
        if not result.metrics:  # mmdet gives nothing where nothing was found, which COCO counts as 0
            result.metrics.update({metric: 0.0 for metric in metrics if metric.startswith('coco/')})
        if lacking := [metric for metric in metrics if metric not in result.metrics]:
            raise KeyError(f'{run} must give {lacking}, but its last validation gave {sorted(result.metrics)}')
        return result

    pool = ThreadPoolExecutor(launch.jobs)
    try:
        futures = {pool.submit(one, run): index for index, run in enumerate(runs)}
        for future in as_completed(futures):
            index = futures[future]
            try:
                results[index] = future.result()
            except (RuntimeError, ValueError, KeyError, OSError) as error:
                failures[index] = str(error.args[0] if isinstance(error, KeyError) else error)
                print(f'{runs[index]}: FAILED', flush=True)
            ordered = [results[index] for index in sorted(results)]
            atomic_write(work_dir / 'table.md', table(runs, ordered, [*metrics, *optional]).encode())
            _write_json(work_dir / 'results.json', [asdict(result) for result in ordered])
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: what is running got it too, nothing else begins
    return ordered, [failures[index] for index in sorted(failures)]


def report(results: Sequence[Result], failures: Sequence[str], work_dir: str | os.PathLike) -> int:
    """Print the table of :func:`train_all` and what went wrong.

    Args:
        results (Sequence[Result]): What :func:`train_all` returned.
        failures (Sequence[str]): What :func:`train_all` returned.
        work_dir (str | os.PathLike): Where it was.

    Returns:
        int: The exit status of a script: 1 where a run failed.
    """
    if results:
        print('\n' + Path(work_dir, 'table.md').read_text(), flush=True)
    for failure in failures:
        print(f'error: {failure}\n', file=sys.stderr)
    return int(bool(failures))


def table(runs: Sequence[Run], results: Sequence[Result], metrics: Sequence[str]) -> str:
    """Write a Markdown table: each variant's metrics, its gaps to the baseline, and the cost of its steps.

    A spread is the standard deviation over the seeds. Gaps are taken seed by seed, for both variants of a pair saw the
    same order of images.

    Args:
        runs (Sequence[Run]): The runs, which give the order of the rows. The first variant of each group is the
            baseline.
        results (Sequence[Result]): What those gave that are finished; cells of the others stay empty.
        metrics (Sequence[str]): The metrics; a metric that no run gave is left out.

    Returns:
        str: The table.
    """
    metrics = [metric for metric in metrics if any(metric in result.metrics for result in results)]
    grouped = any(run.group for run in runs)
    titles = ['group'] * grouped + ['run']
    for metric in metrics:
        titles += [METRICS.get(metric, (metric,))[0], 'against the first']
    titles += ['seeds', 'step time against the first']
    on_gpu = any(result.memory for result in results)
    titles += ['peak memory (MiB)'] * on_gpu

    variants: dict[tuple[str, str], list[Result]] = {(run.group, run.variant): [] for run in runs}
    for result in results:
        variants[result.group, result.variant].append(result)
    first: dict[str, list[Result]] = {}
    rows = []
    for (group, variant), own in variants.items():
        is_first, baseline = group not in first, first.setdefault(group, own)
        row = [group] * grouped + [variant]
        for metric in metrics:
            values = _values(own, metric)
            pairs = _values(baseline, metric)
            gaps = [] if is_first else [values[seed] - pairs[seed] for seed in values if seed in pairs]
            row += [mean_spread(list(values.values())), mean_spread(gaps, '+')]
        steps, other = ([run.step for run in variant if run.step] for variant in (own, baseline))
        ratio = f'{statistics.median(steps) / statistics.median(other):.2f}' if steps and other else ''
        row += [str(len(own)), ratio]
        if on_gpu:
            row.append(str(max((result.memory or 0 for result in own), default='')))
        rows.append(row)
    return markdown_table(titles, rows, words=(0, 1) if grouped else (0,))


def plot(runs: Sequence[Run], results: Sequence[Result], metric: str) -> Figure:
    """Draw what the variants of one group reached.

    Args:
        runs (Sequence[Run]): The runs, which give the order of the variants. The first variant is the baseline.
        results (Sequence[Result]): What those gave that are finished; variants without any are left out.
        metric (str): The metric.

    Returns:
        Figure: The plot.
    """
    from mmmaskany.visualization import plot_variants

    variants = {
        run.variant: list(_values([result for result in results if result.variant == run.variant], metric).values())
        for run in runs
    }
    return plot_variants(
        {name: values for name, values in _shorten(variants).items() if values}, METRICS.get(metric, (metric,))[0]
    )


def _shorten(variants: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Leave out of the names what all of them end in: the training and the data of configs."""
    ending = os.path.commonprefix([name[::-1] for name in variants])[::-1]
    at = ending.find('_')  # whole parts only
    cut = len(ending) - at if len(variants) > 1 and at >= 0 else 0
    return {name[: len(name) - cut]: values for name, values in variants.items()}


def _values(results: Sequence[Result], metric: str) -> dict[int, float]:
    """Return a metric by seed, as it is shown."""
    factor = METRICS.get(metric, (metric, 1))[1]
    return {result.seed: result.metrics[metric] * factor for result in results if metric in result.metrics}


def mean_spread(values: Sequence[float], sign: str = '') -> str:
    """Write what was measured several times as its mean ± its standard deviation.

    Args:
        values (Sequence[float]): The values; a single one has no spread.
        sign (str): '+' to write that of positive means, too. Defaults to ''.

    Returns:
        str: Such as '98.87 ± 0.28'; empty where there are no values.
    """
    if not values:
        return ''
    spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):{sign}.2f}{spread}'
