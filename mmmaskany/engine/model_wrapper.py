# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import inspect

from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmmaskany.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class OwnStepDistributedDataParallel(MMDistributedDataParallel):
    """Distributed training of a model that has a training step of its own.

    MMEngine's wrapper makes the step itself: one forward and one backward pass. This one calls the model's
    ``train_step(data, optim_wrapper, run)`` with itself as ``run``, for the model to call in its own place, so that
    gradients are synchronised.

    Args:
        module (nn.Module): The model; its ``train_step`` takes ``run``.
        broadcast_buffers (bool): Whether rank 0 sends its buffers before every forward pass. Defaults to False, as
            the Runner's own wrapper has it.
        **kwargs: Other arguments of MMEngine's ``MMDistributedDataParallel``.

    Raises:
        ValueError: If the model has no such step.
    """

    def __init__(self, module: nn.Module, broadcast_buffers: bool = False, **kwargs) -> None:
        step = getattr(module, 'train_step', None)
        if step is None or 'run' not in inspect.signature(step).parameters:
            raise ValueError(
                f'{type(module).__name__} must have a train_step(data, optim_wrapper, run), as MaskSubClassifier has: '
                'for other models leave model_wrapper_cfg out'
            )
        super().__init__(module, broadcast_buffers=broadcast_buffers, **kwargs)

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Let the model train on a batch.

        Args:
            data (dict | tuple | list): The batch.
            optim_wrapper (OptimWrapper): The wrapper of the optimiser.

        Returns:
            dict[str, Tensor]: What is logged.
        """
        return self.module.train_step(data, optim_wrapper, run=self)
