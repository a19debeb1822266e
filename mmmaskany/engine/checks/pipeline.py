# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Whether what a data pipeline makes of an image by masks, views and ignored objects, is minded by the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn
from torch.utils.data import Dataset

from mmmaskany.datasets.transforms import MaskObjects, MaskRegions, PackMaskAnyInputs
from mmmaskany.models.backbones import MaskAnyMixin
from mmmaskany.models.data_preprocessors import MaskAnyDataPreprocessor
from mmmaskany.models.detectors import check_ignoring


def check_views(model: nn.Module, dataset: Dataset, key: str) -> None:
    """Make sure that what :class:`MaskRegions` reuses is packed, normalised and taken.

    A packer of the hosts drops the reused view without a word, and their data preprocessors know no pair.

    Args:
        model (nn.Module): The model.
        dataset (Dataset): The dataset, in whatever wrappers.
        key (str): The config key of its data loader, for the error.

    Raises:
        ValueError: If a part is missing. The message names it and what to take.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    for part in _datasets(dataset):
        steps = list(_steps(getattr(part, 'pipeline', None)))
        first = next((index for index, step in enumerate(steps) if isinstance(step, MaskRegions) and step.reuse), None)
        if first is None:
            continue
        packer = next((step for step in steps[first:] if type(step).__name__.startswith('Pack')), None)
        if not isinstance(packer, PackMaskAnyInputs):
            raise ValueError(
                f'{key}: MaskRegions makes a reused view, which mmmaskany.PackMaskAnyInputs packs, but '
                + (f'{type(packer).__name__} drops it' if packer else 'the pipeline has no packer')
                + ': take ours, or give MaskRegions reuse=False, where the masks alone are wanted. Detectors and '
                'segmentors mask in the model (masking= of the backbone)'
            )
        preprocessor = getattr(model, 'data_preprocessor', None)
        if not isinstance(preprocessor, MaskAnyDataPreprocessor):
            raise ValueError(
                f'{key}: PackMaskAnyInputs packs two views, which mmmaskany.MaskAnyDataPreprocessor normalises, but '
                f'the model has {type(preprocessor).__name__}: give it '
                "data_preprocessor=dict(type='mmmaskany.MaskAnyDataPreprocessor', ...)"
            )
        if not any(isinstance(module, MaskAnyMixin) for module in model.modules()):
            raise ValueError(
                f'{key}: the pipeline makes two views, but {type(getattr(model, "backbone", model)).__name__} takes '
                'one image: put mmmaskany.MaskAny around it, or take a plain pipeline'
            )


def check_ignored(model: nn.Module, dataset: Dataset, key: str) -> None:
    """Make sure that boxes which :class:`MaskObjects` has ignored are ignored.

    Args:
        model (nn.Module): The model.
        dataset (Dataset): The dataset, in whatever wrappers.
        key (str): The config key of its data loader, for the error.

    Raises:
        ValueError: If an assigner of the detector does not mind them.
    """
    while is_model_wrapper(model):
        model = model.module
    for part in _datasets(dataset):
        for step in _steps(getattr(part, 'pipeline', None)):
            if isinstance(step, MaskObjects) and step.objects.policy == 'ignore':
                try:
                    check_ignoring(model)
                except ValueError as error:
                    raise ValueError(f'{key}: {error}') from None


def _datasets(dataset: object) -> Iterator[object]:
    """Yield the datasets within wrappers, and the wrappers."""
    yield dataset
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())]
    for part in inner:
        if part is not None:
            yield from _datasets(part)


def _steps(step: object) -> Iterator[object]:
    """Yield the transforms of a pipeline in their order, those within others, too."""
    if isinstance(step, Sequence) and not isinstance(step, str):
        for part in step:
            yield from _steps(part)
    elif step is not None:
        yield step
        for name in ('transforms', 'subroutines', 'pipelines'):
            yield from _steps(getattr(step, name, None))
