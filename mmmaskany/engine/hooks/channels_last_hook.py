# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the channels of a pixel side by side in memory, which is how convolutions are fastest.

    Weights of convolutions become ``torch.channels_last``, and with them what comes out of every convolution. Values
    and shapes stay; sums are rounded otherwise, so the same seed does not give the same digits. Networks without
    convolutions gain nothing. Operators of mmcv, which read maps in one order alone, get copies of them, see
    :func:`~mmmaskany.models.contiguous_operators.make_contiguous`.

    Raises:
        ValueError: Before anything is run on a CPU, if the model has a convolution of one pixel and a stride: of some,
            seen up to 8 input channels, as in RepVGG's stem, torch 2.11 overwrites other memory. Of the shortcuts of a
            ResNet this was not seen; they are refused to be safe.
    """

    def before_run(self, runner: Runner) -> None:
        """Convert the model, in place.

        Args:
            runner (Runner): The runner of the training, validation or test.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if next(model.parameters()).device.type == 'cpu':
            unsafe = unsafe_on_cpu(model)
            if unsafe:
                raise ValueError(
                    'ChannelsLastHook needs a GPU for a model with convolutions of one pixel and a stride, but '
                    f'{type(model).__name__} has {len(unsafe)} on the CPU, {unsafe[0]} the first: leave the hook out'
                )
        from mmmaskany.models.contiguous_operators import make_contiguous

        make_contiguous()
        model.to(memory_format=torch.channels_last)


def unsafe_on_cpu(model: nn.Module) -> list[str]:
    """Find the convolutions whose backward pass may overwrite other memory, for channels_last images on a CPU.

    Args:
        model (nn.Module): The model.

    Returns:
        list[str]: Dotted names of its convolutions of one pixel and a stride (torch 2.11).
    """
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == {1} and set(layer.stride) != {1}
    ]
