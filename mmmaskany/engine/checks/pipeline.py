# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Whether the model minds what pipeline and preprocessor make of an image: views, ignored objects, normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmmaskany.checkpoints.normalisation import Normalisation, normalisation_of
from mmmaskany.datasets.transforms import MaskObjects, MaskRegions, PackMaskAnyInputs
from mmmaskany.models.backbones import MaskAnyMixin
from mmmaskany.models.data_preprocessors import MaskAnyDataPreprocessor
from mmmaskany.models.detectors import check_ignoring
from mmmaskany.models.view_augments import AutoAugmentViews


def check_views(model: nn.Module, dataset: Dataset, key: str) -> None:
    """Make sure that what :class:`MaskRegions` reuses is packed, normalised and taken.

    A packer of the libraries drops the reused view without a word, and their data preprocessors know no pair.

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


def check_augments(model: nn.Module, dataset: Dataset) -> None:
    """Make sure that what augments normalised images knows how these were normalised.

    Where the data preprocessor does not normalise, a pipeline may have done so, and nothing is compared; nor are the
    channels where it cannot be told in which order images are loaded.

    Args:
        model (nn.Module): The model.
        dataset (Dataset): The dataset of the training, in whatever wrappers.

    Raises:
        ValueError: If mean, std or order of channels are other ones. The message says what to give.
    """
    while is_model_wrapper(model):
        model = model.module
    preprocessor = getattr(model, 'data_preprocessor', None)
    preprocessor = getattr(preprocessor, 'data_preprocessor', preprocessor)  # of several branches
    if not isinstance(getattr(preprocessor, 'mean', None), Tensor):
        return
    orders = {_loads_rgb(part) for part in _datasets(dataset)} - {None}
    for name, module in model.named_modules():
        if not isinstance(module, AutoAugmentViews):
            continue
        mean, std = (tuple(values.flatten().tolist()) for values in (module.mean, module.std))
        known = Normalisation(mean, std, not module.bgr)
        for loaded_rgb in sorted(orders) or [None]:
            made = normalisation_of(preprocessor, bool(loaded_rgb))
            made = made._replace(to_rgb=known.to_rgb) if loaded_rgb is None else made
            if difference := known.differs_from(made, near=0.05):  # some write 123.68 for 123.675
                mean, std = (list(values) * (3 // len(values)) for values in (made.mean, made.std))
                raise ValueError(
                    f'model.{name}: AutoAugmentViews must have the numbers of data_preprocessor, to make pixels of its '
                    f'images again, but that makes {difference}: give AutoAugmentViews mean={mean}, std={std}, '
                    f'bgr={not made.to_rgb}'
                )


def _loads_rgb(dataset: object) -> bool | None:
    """Tell whether a dataset's images have the channels of RGB, or of BGR; None where that is not known."""
    rgb = True if any(kind.__name__ == 'CIFAR10' for kind in type(dataset).__mro__) else None
    for step in _steps(getattr(dataset, 'pipeline', None)):
        name = type(step).__name__
        if name.startswith('LoadImage'):  # by OpenCV, or in its order
            rgb = False
        elif rgb is not None and getattr(step, {'NumpyToPIL': 'to_rgb', 'PILToNumpy': 'to_bgr'}.get(name, ''), False):
            rgb = not rgb
    return rgb


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
