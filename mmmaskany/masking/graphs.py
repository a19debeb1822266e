# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Compiled graphs: a masking of a hundred small operations becomes a few kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

#: Nothing small is kept in memory between two kernels, and what is random stays as eager code has it.
OPTIONS = dict(
    realize_opcount_threshold=10_000,
    realize_reads_threshold=1_000,
    realize_acc_reads_threshold=1_000,
    fallback_random=True,
)


def compile_graph(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Callable:
    """Compile a function of tensors for inputs of just these shapes, by torch's Inductor; it has no gradient.

    Args:
        function (Callable[..., Sequence[Tensor]]): The function. It must not look at values.
        inputs (Sequence[Tensor]): Its arguments.

    Returns:
        Callable: The same function, to be called with such inputs alone.
    """
    from torch import _inductor
    from torch.fx.experimental.proxy_tensor import make_fx  # brings sympy

    with torch.no_grad():
        graph = make_fx(function, tracing_mode='fake', _allow_non_fake_inputs=True)(*inputs)
        return _inductor.compile(graph, list(inputs), options=OPTIONS)


class Graphs:
    """The compiled graphs of one masking, a few; a copy of it starts without any.

    Args:
        what (str): What they make, for the warning.
        most (int): How many there may be: for inputs of one more kind, and all later ones, there is none. Each takes
            some seconds to make. Defaults to 4: whole and last batch of two image sizes.
    """

    def __init__(self, what: str, most: int = 4) -> None:
        self.what = what
        self.most = most
        self.made: dict[Hashable, Callable] = {}
        self.stopped = False

    def __reduce__(self) -> tuple:
        return Graphs, (self.what, self.most)

    def run(
        self, key: Hashable, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]
    ) -> Sequence[Tensor] | None:
        """Run a function compiled; where that cannot be, it is said once.

        Args:
            key (Hashable): What the function depends on beside its inputs.
            function (Callable[..., Sequence[Tensor]]): The function.
            inputs (Sequence[Tensor]): Its arguments.

        Returns:
            Sequence[Tensor] | None: What it returns; None where there is no graph for it and none will be made.
        """
        key = (key, *((tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in inputs))
        if key in self.made:
            return self.made[key](*inputs)
        if not self.stopped and len(self.made) == self.most:
            self._stop(f'{self.most} graphs were made, each for one size of images and batch and one setting')
        if self.stopped:
            return None
        outputs = function(*inputs)  # first, so that what it keeps on the device is no part of the graph
        try:
            self.made[key] = compile_graph(function, inputs)
        except Exception as error:  # no compiler, no Triton, or whatever else it may be
            self._stop(f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}')
        return outputs

    def _stop(self, why: str) -> None:
        self.stopped = True
        warnings.warn(
            f'{self.what} of new sizes are made uncompiled from here on, which is slower on a GPU: {why}', stacklevel=4
        )
