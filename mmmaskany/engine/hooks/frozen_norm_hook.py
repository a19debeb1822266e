# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class FrozenNormHook(Hook):
    """Train with the statistics of batch normalisation that came with the weights: those of small batches are noise.

    What ``norm_eval=True`` is to OpenMMLab's ResNet, for any network, such as timm's. Weights and biases of the layers
    are trained as before.

    Args:
        module (str): Dotted name of the part of the model whose layers are meant. Defaults to 'backbone'.

    Raises:
        ValueError: Before training, if the model has no such part, or it has no batch normalisation.
    """

    def __init__(self, module: str = 'backbone') -> None:
        self.module = module
        self.layers: list[_BatchNorm] = []

    def before_train(self, runner: Runner) -> None:
        """Find the layers.

        Args:
            runner (Runner): The runner of the training process.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        parts = dict(model.named_modules())
        if self.module not in parts:
            raise ValueError(
                f'module of FrozenNormHook must be a part of the model, but {type(model).__name__} has no '
                f'{self.module!r}, only {[name for name, _ in model.named_children()]}'
            )
        self.layers = [layer for layer in parts[self.module].modules() if isinstance(layer, _BatchNorm)]
        if not self.layers:
            raise ValueError(f'{self.module} of the model has no batch normalisation: leave FrozenNormHook out')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Put the layers into evaluation, where a loop, or a validation, left them in training.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch. Defaults to None.
        """
        for layer in self.layers:
            layer.training = False
