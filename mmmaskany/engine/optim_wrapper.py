# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmmaskany.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Mixed precision on a CPU: the forward pass under bfloat16 autocast, weights and updates in float32.

    MMEngine's ``AmpOptimWrapper`` needs a GPU. bfloat16 has float32's range, so the loss is not scaled.

    Args:
        **kwargs: As for MMEngine's ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast, and skip gradient synchronisation while gradients accumulate.

        Args:
            model (nn.Module): The model that is trained.
        """
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
