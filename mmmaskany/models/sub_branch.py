# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What MaskSub is in any host: a masked branch that learns from the main one, and a step of two backward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmmaskany.builder import build_part, known_parts
from mmmaskany.masking import Views, half_size

from .backbones import MaskAnyMixin
from .guides import GUIDES, find_guided
from .host import Host
from .sub_masking import SubMasking

SUB_NORMS = ('update', 'freeze')


class SubBranchMixin(Host):
    """A host with a masked sub-branch, which learns from its main branch (MaskSub, arXiv 2306.11339).

    A subclass stands in front of the host's class, calls :meth:`set_sub_branch` at the end of its constructor, and has

    - ``main_loss(inputs, data_samples)``: the losses of the main branch, halved, and what the sub-branch learns from;
    - ``sub_loss(inputs, scores, data_samples)``: the losses of the sub-branch, halved, made in :meth:`sub_branch`.
    """

    def set_sub_branch(self, sub_masking: dict | SubMasking | None, sub_norm: str, two_passes: bool) -> None:
        """Make the sub-branch of a built model.

        Args:
            sub_masking (dict | SubMasking | None): How it is masked.
            sub_norm (str): What it does to the running statistics of batch norms, 'update' or 'freeze'.
            two_passes (bool): Whether each branch has its own backward pass.

        Raises:
            KeyError: If ``sub_masking`` is not known.
            TypeError: If ``sub_masking`` is no such masking.
            ValueError: If it does not go with the backbone, or ``sub_norm`` is not known or does not go with the model.
        """
        if sub_norm not in SUB_NORMS:
            raise ValueError(f'sub_norm must be one of {SUB_NORMS}, but got {sub_norm!r}')
        self.sub_norm = sub_norm
        self.two_passes = two_passes
        self._check_norms()
        named = isinstance(sub_masking, dict) and 'type' in sub_masking
        built = build_part(sub_masking, (SubMasking,), 'sub_masking') if named else sub_masking
        if not isinstance(built, SubMasking):
            raise TypeError(
                f'sub_masking must be dict(type=...) of one of {known_parts((SubMasking,))}, but got {sub_masking!r}'
            )
        self.sub_masking = built
        self.sub_masking.bind(self.backbone)
        self.sub_masking.bind_model(self)
        pattern = self.sub_masking.pattern
        guided = None if pattern is None else find_guided(pattern, tuple(GUIDES))
        self.guide = None if guided is None else GUIDES[guided.guide](self)

    def _check_norms(self) -> None:
        again = [module for module in self.modules() if getattr(module, 'with_cp', False)]
        if self.sub_norm == 'freeze' and any(_batch_norms(module) for module in again):
            raise ValueError(
                "sub_norm='freeze' does not go with with_cp=True, which runs layers again in the backward pass and "
                "updates their statistics there: take with_cp=False or sub_norm='update'"
            )

    # ------------------------------------------------------------------ the two branches

    def forward(
        self,
        inputs: Tensor | Views,
        data_samples: list | None = None,
        mode: str = 'tensor',
        scores: object = None,
    ) -> Any:
        """Run the host's modes, or one branch.

        Args:
            inputs (Tensor | Views): The images, or a ready pair for a MaskAny backbone.
            data_samples (list | None): The labels. Defaults to None.
            mode (str): 'tensor', 'predict' and 'loss' as in the host; 'main' calls ``main_loss``, 'sub' ``sub_loss``.
                Defaults to 'tensor'.
            scores (object): What ``main_loss`` gave of the main branch, for 'sub'. Defaults to None.

        Returns:
            Tensor | list | dict | tuple: As the mode says.
        """
        if mode == 'main':
            with self._guiding():
                return self.main_loss(inputs, data_samples)
        if mode == 'sub':
            return self.sub_loss(inputs, scores, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor | Views, data_samples: list) -> dict[str, Tensor]:
        """Calculate the losses of both branches, in one pass.

        Args:
            inputs (Tensor | Views): The images, or a ready pair for a MaskAny backbone.
            data_samples (list): The labels.

        Returns:
            dict[str, Tensor]: Those of both.
        """
        with self._guiding():
            losses, scores = self.main_loss(inputs, data_samples)
        return {**losses, **self.sub_loss(inputs, scores, data_samples)}

    @contextmanager
    def _guiding(self) -> Iterator[None]:
        """Look in the main branch for what guides the masks of the sub-branch."""
        if self.guide is None:
            yield
            return
        found: list[Tensor] = []
        with self.guide.watching(self, found):
            yield
        self.sub_masking.guidance = found[0], self.guide.mode

    @contextmanager
    def sub_branch(self, inputs: Tensor | Views) -> Iterator[Tensor | Views]:
        """Mask what the network sees within the context, and leave its running statistics alone if so asked.

        Args:
            inputs (Tensor | Views): What the main branch saw.

        Yields:
            Tensor | Views: The images to call the backbone with.
        """
        visible = inputs.visible if isinstance(inputs, Views) else inputs
        with self.sub_masking.masked(self.backbone, visible) as images, self._norms_of_sub_branch():
            # A ready pair is masked no further by the backbone.
            yield Views(images, half_size(images)) if isinstance(self.backbone, MaskAnyMixin) else images
        self.sub_masking.guidance = None

    @contextmanager
    def _norms_of_sub_branch(self) -> Iterator[None]:
        norms = [norm for norm in _batch_norms(self) if norm.track_running_stats] if self.sub_norm == 'freeze' else []
        for norm in norms:  # in training such a norm uses its batch, and in evaluation its running statistics, as ever
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True

    # ------------------------------------------------------------------ the step

    def train_step(
        self, data: dict | tuple | list, optim_wrapper: OptimWrapper, run: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Train on a batch.

        Args:
            data (dict | tuple | list): The batch, as the data loader gives it.
            optim_wrapper (OptimWrapper): Any wrapper of one optimiser. The two passes count as one step: gradients
                are scaled, accumulated, clipped and applied as if it were one.
            run (nn.Module | None): What is called in the place of the model, see
                :class:`.OwnStepDistributedDataParallel`. None is the model itself. Defaults to None.

        Returns:
            dict[str, Tensor]: What is logged: ``loss``, and what both branches return.
        """
        run = self if run is None else run
        if not self.two_passes:
            with optim_wrapper.optim_context(run):
                losses = run(**self.data_preprocessor(data, True), mode='loss')
            loss, logs = self.parse_losses(losses)
            optim_wrapper.update_params(loss)
            return logs

        with optim_wrapper.optim_context(run), getattr(run, 'no_sync', nullcontext)():
            prepared = self.data_preprocessor(data, True)
            losses, scores = run(**prepared, mode='main')
        main, logs = self.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(main))
        optim_wrapper._inner_count -= 1  # both passes are one step, which the second one counts
        del losses
        with optim_wrapper.optim_context(run):
            losses = run(**prepared, scores=scores, mode='sub')
        sub, sub_logs = self.parse_losses(losses)
        optim_wrapper.update_params(sub)
        return {**logs, **sub_logs, 'loss': main.detach() + sub.detach()}


def _batch_norms(module: nn.Module) -> list[_BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
