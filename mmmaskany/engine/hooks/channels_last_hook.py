# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmmaskany.registry import HOOKS

#: What :func:`unsafe_on_cpu` finds, in words.
UNSAFE = 'convolutions of one pixel, a stride and fewer than 16 input channels'


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the channels of a pixel side by side in memory, which is how convolutions are fastest.

    Weights of convolutions become ``torch.channels_last``, and with them what comes out of every convolution. Values
    and shapes stay; sums are rounded otherwise, so the same seed does not give the same digits. Networks without
    convolutions gain nothing. Operators of mmcv, which read maps in one order alone, get copies of them, see
    :func:`~mmmaskany.models.contiguous_operators.make_contiguous`.

    Raises:
        ValueError: Before anything is run on a CPU, if the model has a convolution that :func:`unsafe_on_cpu` finds.
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
                    f'ChannelsLastHook needs a GPU for a model with {UNSAFE}, but {type(model).__name__} has '
                    f'{len(unsafe)} on the CPU, {unsafe[0]} the first: leave the hook out'
                )
        from mmmaskany.models.contiguous_operators import make_contiguous

        make_contiguous()
        model.to(memory_format=torch.channels_last)


def unsafe_on_cpu(model: nn.Module) -> list[str]:
    """Find the convolutions whose backward pass overwrites other memory, for channels_last images on a CPU.

    With torch 2.11 it does for convolutions of one pixel, a stride and fewer than 16 input channels, such as RepVGG's
    stem, on processors with AVX-512 of two makers: all of 1 to 15 channels that were tried (56 and 112 px) crash under
    ``MALLOC_CHECK_=3``, none of 16 to 512 does, which the shortcuts of a ResNet have.

    Args:
        model (nn.Module): The model.

    Returns:
        list[str]: Their dotted names.
    """
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
        and set(layer.kernel_size) == {1}
        and set(layer.stride) != {1}
        and layer.in_channels // layer.groups < 16
    ]
