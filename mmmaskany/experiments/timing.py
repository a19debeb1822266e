# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure what several models do against each other, in one run.

All take turns, so that a slow moment of the machine hits all alike, and every turn begins with another, for what the
one before left in caches and heap changes the next.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from .tables import markdown_table

#: What may be measured: the time on the wall, or that of all threads of the process, which other processes on the
#: machine hardly change.
CLOCKS = {'wall': time.perf_counter, 'processor': time.process_time}
#: How often a work is done in a turn on a GPU before the processor waits for it. A training does not wait after each
#: step: what is launched while the GPU is still busy costs nothing there.
STEPS_ON_GPU = 8


class Work:
    """Something that a model does, such as a training step; a call does it once.

    Args:
        model (nn.Module): The model.
        do (Callable): Does it, on a batch of its own.
        optimizer (torch.optim.Optimizer, optional): What it trains with. Defaults to None.
    """

    def __init__(
        self, model: nn.Module, do: Callable[[], object], optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        self.model = model
        self.do = do
        self.optimizer = optimizer
        self.on_gpu = next(model.parameters()).is_cuda

    def __call__(self) -> None:
        self.do()
        if self.on_gpu:
            torch.cuda.synchronize()

    def milliseconds(self, clock: Callable[[], float] = time.perf_counter) -> float:
        """Return how long it takes to do it once; on a GPU of :data:`STEPS_ON_GPU` in a row, the mean."""
        steps = STEPS_ON_GPU if self.on_gpu else 1
        start = clock()
        for _ in range(steps - 1):
            self.do()
        self()
        return (clock() - start) * 1e3 / steps

    def peak(self) -> float:
        """Do it once and return its peak memory in MiB, with what model and optimiser hold all the time.

        On a GPU this is what torch allocated, on the CPU what the tensors added up to that torch's profiler saw.
        """
        states = self.optimizer.state.values() if self.optimizer else ()
        own = [*self.model.parameters(), *self.model.buffers()]
        own += [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
        held = sum(tensor.numel() * tensor.element_size() for tensor in {id(tensor): tensor for tensor in own}.values())
        if self.on_gpu:
            before = torch.cuda.memory_allocated()  # what the other models hold is no part of it
            torch.cuda.reset_peak_memory_stats()
            self()
            return (torch.cuda.max_memory_allocated() - before + held) / 2**20
        os.environ.setdefault('KINETO_LOG_LEVEL', '5')  # without a GPU the profiler complains that there is none
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            self()
        total = peak = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == '[memory]':
                total += event.nbytes()
                peak = max(peak, total)
        return (peak + held) / 2**20


def take_turns(works: Mapping[str, Work], turns: int, warmup: int, clock: str = 'wall') -> list[dict]:
    """Measure works against the first of them.

    Args:
        works (Mapping[str, Work]): The works by name.
        turns (int): How often each is timed, see :meth:`Work.milliseconds`.
        warmup (int): How often each is done before that.
        clock (str): 'wall' or 'processor', see :data:`CLOCKS`. Defaults to 'wall'.

    Returns:
        list[dict]: For each ``name``, number of ``parameters``, median of its times ``ms`` and the ``fastest``; the
            median of the ratios within a turn, ``ratio``, least and most, ``ratios``, and that of the fastest,
            ``fastest_ratio``; peak ``memory`` in MiB and its ratio, ``memory_ratio``.
    """
    for work in works.values():
        for _ in range(warmup):
            work()
    names = list(works)
    times = []
    for turn in range(turns):
        begin = turn % len(names)
        order = names[begin:] + names[:begin]
        times.append({name: works[name].milliseconds(CLOCKS[clock]) for name in order})
    memory = {name: work.peak() for name, work in works.items()}
    first, rows = names[0], []
    for name, work in works.items():
        own, ratios = [turn[name] for turn in times], [turn[name] / turn[first] for turn in times]
        rows.append(
            dict(
                name=name,
                parameters=sum(parameter.numel() for parameter in work.model.parameters()),
                ms=statistics.median(own),
                fastest=min(own),
                ratio=statistics.median(ratios),
                ratios=[min(ratios), max(ratios)],
                fastest_ratio=min(own) / min(turn[first] for turn in times),
                memory=memory[name],
                memory_ratio=memory[name] / memory[first],
            )
        )
    return rows


def turns_table(rows: Sequence[dict], title: str) -> str:
    """Write what :func:`take_turns` returned as a Markdown table.

    Args:
        rows (Sequence[dict]): The rows.
        title (str): What was done, the title of the first column.

    Returns:
        str: The table.
    """
    head = ['parameters', 'ms', 'fastest', 'time ratio (least .. most)', 'of fastest', 'peak MiB', 'memory ratio']
    lines = []
    for row in rows:
        low, high = row['ratios']
        ratio = f'{row["ratio"]:.3f} ({low:.3f} .. {high:.3f})'
        lines.append([row['name'], f'{row["parameters"]:,}', f'{row["ms"]:.0f}', f'{row["fastest"]:.0f}', ratio])
        lines[-1] += [f'{row["fastest_ratio"]:.3f}', f'{row["memory"]:.0f}', f'{row["memory_ratio"]:.3f}']
    return markdown_table([title, *head], lines)
