# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmmaskany.masking import Masking, Views, half_size
from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class MaskVisualizationHook(Hook):
    """Show, every so many iterations, what the masks made of a few samples, and log what became of it in the stems.

    The picture (``masks``) goes through the Runner's visualizer, so into whatever backends the config names: files in
    ``vis_data/vis_image``, TensorBoard, Weights & Biases. It shows samples of the batch that was trained on just then,
    masked ones first. The scalars are logged with the losses:

    - ``masked``, and ``masked_grid`` and so on for each pattern of a mixture: share of the samples that are masked
    - ``norm_visible_stem``, ``norm_reused_stem``: mean length of the feature vectors that each stem returns
    - ``fusion_gate``: how much of the reused features enters, from 0, nothing, over 1, the addition; see ``openness``
      of the fusions. With late fusion it is the mean over the levels.

    All are of one batch of the first process, which alone looks. It looks on by forward hooks, which are in the model
    only in the iterations that are shown: the others cost nothing. A compiled model is compiled once more for them.

    Of masks that a data pipeline draws the two views are shown, and the share ``masked``: which pattern it was, and the
    image before it, are not known any more.

    Args:
        interval (int): Iterations from one picture to the next. Defaults to 500.
        num_samples (int): Samples in the picture; 0 draws none and only logs. Defaults to 4.

    Raises:
        ValueError: If an argument is out of range. Before training, if the model has neither a second stem nor masks.
    """

    def __init__(self, interval: int = 500, num_samples: int = 4) -> None:
        for name, value, least in (('interval', interval, 1), ('num_samples', num_samples, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f'{name} must be a whole number of at least {least}, but got {value!r}')
        self.interval = interval
        self.num_samples = num_samples
        self._handles: list = []

    def before_train(self, runner: Runner) -> None:
        """Find the stems and what masks.

        Args:
            runner (Runner): The runner of the training process.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        modules = list(model.modules())
        backbones = [module for module in modules if hasattr(module, 'dual_stem')]
        self._model = model
        self._backbone: nn.Module | None = backbones[0] if backbones else None
        self._masking: Masking | None = next((module for module in modules if isinstance(module, Masking)), None)
        self._fusions = [module for module in modules if hasattr(module, 'openness')]
        if self._backbone is None and self._masking is None:
            raise ValueError(
                f'the model must have a second stem or mask its images, but {type(model).__name__} does neither: leave '
                'out MaskVisualizationHook'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Begin to look on, where it is time to.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch. Defaults to None.
        """
        if runner.rank == 0 and self.every_n_train_iters(runner, self.interval):
            self._look()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Log and draw what was seen.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch. Defaults to None.
            outputs (dict, optional): What the step returned. Defaults to None.
        """
        if not self._handles:
            return
        while self._handles:
            self._handles.pop().remove()
        for name, value in self._scalars(data_batch).items():
            runner.message_hub.update_scalar(f'train/{name}', float(value))
        if self.num_samples and ('views' in self._seen or 'inputs' in self._seen):
            runner.visualizer.add_image('masks', self._picture(data_batch), step=runner.iter + 1)
        self._seen, self._gates = {}, {}  # a batch of images

    # ------------------------------------------------------------------ looking on

    def _look(self) -> None:
        """Hook into the model. What it is called with first in a step is kept: MaskSub calls it twice."""
        self._seen: dict = {}
        self._gates: dict[nn.Module, Tensor] = {}

        def on(module: nn.Module | None, keep: Callable[[tuple, object], object]) -> None:
            if module is not None:
                self._handles.append(module.register_forward_hook(lambda _, args, output: keep(args, output)))

        def norm(name: str) -> Callable[[tuple, Tensor], None]:
            def keep(args: tuple, output: Tensor) -> None:
                if name not in self._seen:  # now, for the output may be changed in place later
                    self._seen[name] = torch.linalg.vector_norm(output.detach().float(), dim=1).mean()

            return keep

        def gate(fusion: nn.Module) -> Callable[[tuple, Tensor], None]:
            def keep(args: tuple, output: Tensor) -> None:
                if fusion not in self._gates:
                    with torch.no_grad():
                        self._gates[fusion] = fusion.openness(*args)

            return keep

        def views(args: tuple, output: Views) -> None:
            self._seen.setdefault('views', (args[0].detach(), output))

        def inputs(args: tuple, output: object) -> None:
            self._seen.setdefault('inputs', args[0])

        stem = getattr(self._backbone, 'dual_stem', None)
        if stem is not None:
            on(stem.visible, norm('norm_visible_stem'))
            on(stem.reused, norm('norm_reused_stem'))
        for fusion in self._fusions:
            on(fusion, gate(fusion))
        on(self._masking, views)
        on(self._backbone, inputs)

    # ------------------------------------------------------------------ what was seen

    def _scalars(self, data_batch: dict | None) -> dict[str, Tensor | float]:
        scalars = {name: value for name, value in self._seen.items() if name.startswith('norm_')}
        if self._gates:
            scalars['fusion_gate'] = torch.stack([gate.float() for gate in self._gates.values()]).mean()
        if 'views' in self._seen:
            draw = self._seen['views'][1].draw
            scalars['masked'] = draw.masked.float().mean()
            if draw.choice is not None:
                for index, name in enumerate(self._masking.pattern.names):
                    scalars[f'masked_{name.replace(" ", "_")}'] = (draw.choice == index).float().mean()
        elif flags := _masked_flags(data_batch):
            scalars['masked'] = sum(flags) / len(flags)
        return scalars

    def _picture(self, data_batch: dict | None):
        from mmmaskany.visualization import batch_panels, sheet, to_array  # matplotlib only where it is drawn with

        if 'views' in self._seen:
            images, (visible, reused, draw) = self._seen['views']
            names = self._masking.pattern.names
            choice = (~draw.masked).long() * len(names) if draw.choice is None else draw.choice
            masked = draw.masked.tolist()
            captions = [[*names, 'unmasked'][index] for index in choice.tolist()]
        else:
            inputs = self._seen['inputs']
            visible, reused, draw = inputs if isinstance(inputs, Views) else Views(inputs, half_size(inputs))
            images = None
            masked = _masked_flags(data_batch) or [False] * len(visible)
            captions = ['masked' if flag else 'unmasked' for flag in masked]
        order = sorted(range(len(masked)), key=lambda index: not masked[index])[: self.num_samples]
        chosen = [None if batch is None else batch[order] for batch in (visible, reused, images)]
        mask = None if draw is None else draw.pixel_mask(*visible.shape[-2:])[order]
        panels = batch_panels(self._model.data_preprocessor, *chosen, mask, [captions[index] for index in order])
        return to_array(sheet([('', [panel]) for panel in panels]))


def _masked_flags(data_batch: object) -> list[bool]:
    """Read from the samples of a batch whether the data pipeline masked them; none where it does not say."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    samples = samples if isinstance(samples, Sequence) else ()
    flags = [sample.get('masked') for sample in samples]
    return [bool(flag) for flag in flags] if flags and None not in flags else []
