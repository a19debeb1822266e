# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a data loader, a model and a metric do together, said before the first step: sizes, counts and labels."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from PIL import Image
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from .class_names import compare, names_of
from .files import spread
from .finding import Finding, first
from .images import check_shared

#: For how many seconds the sizes of a split's images are read, evenly spread over it, and of how many at most.
SECONDS, SAMPLE = 1, 300


def check_datasets(datasets: Mapping[str, object]) -> Iterator[Finding]:
    """Compare built datasets: their class names, their labels with their folders, and the images they share.

    Args:
        datasets (Mapping[str, Dataset]): The datasets by their config keys, that of the training first.

    Yields:
        Finding: What is wrong or odd.
    """
    names = [name for key, dataset in datasets.items() for name in names_of(dataset, key)]
    if names:
        yield from compare(names)
    paths = {key: list(_paths(dataset)) for key, dataset in datasets.items()}
    for key, dataset in datasets.items():
        called = next((name.classes for name in names if name.key.startswith(key)), names[0].classes if names else ())
        yield from check_folder_labels(key, dataset, called)
        if not key.startswith('train') and 'train_dataloader.dataset' in paths:
            yield from check_shared(key, paths['train_dataloader.dataset'], paths[key])


def _info(dataset: object, index: int) -> dict:
    """Return what a dataset knows of a sample, without loading it."""
    info = getattr(dataset, 'get_data_info', lambda index: {})(index)
    return info if isinstance(info, dict) else {}


def _paths(dataset: object) -> Iterator[str]:
    if not hasattr(dataset, 'get_data_info'):
        return
    for index in spread(range(len(dataset)), SECONDS / 2) if len(dataset) else ():
        path = _info(dataset, index).get('img_path')
        if not isinstance(path, str):
            return
        yield path


def check_folder_labels(key: str, dataset: object, classes: Sequence[str]) -> Iterator[Finding]:
    """Compare labels with the folders that images lie in, where these are called as the classes are.

    Args:
        key (str): The config key of the dataset.
        dataset (Dataset): The dataset.
        classes (Sequence[str]): The names of the classes.

    Yields:
        Finding: An error where most of them differ, as if labels were numbered by another order.
    """
    if getattr(dataset, 'folder_to_idx', None) or not classes or not len(dataset):
        return
    place, same, other = {name: index for index, name in enumerate(classes)}, 0, []
    for count, index in enumerate(spread(range(len(dataset)), SECONDS)):
        info = _info(dataset, index)
        path, label = info.get('img_path'), info.get('gt_label')
        if not isinstance(label, (int, np.integer)) or count == SAMPLE:
            break
        folder = path.replace('\\', '/').split('/')[-2:-1] if isinstance(path, str) else []
        if folder and folder[0] in place:
            if place[folder[0]] == label:
                same += 1
            else:
                other.append(f'{path} is {label}, {classes[label] if label < len(classes) else "no class"}')
    if len(other) > same and len({text.rpartition('/')[0] for text in other}) > 1:
        yield Finding(
            'error',
            key,
            f'labels must count the classes as the others do, {first(classes, 10)}, but {len(other)} of '
            f'{len(other) + same} labels that were looked at are not those of their folders: {first(other)}',
        )


def check_steps(key: str, loader: DataLoader) -> Iterator[Finding]:
    """Make sure that a data loader has a batch.

    Args:
        key (str): Its config key.
        loader (DataLoader): The data loader.

    Yields:
        Finding: An error where it has none.
    """
    images = len(loader.dataset)
    if not images:
        yield Finding('error', key, f'{key}.dataset must have images, but has none')
    elif not _endless(loader) and not len(loader):
        yield Finding(
            'error',
            key,
            f'there must be a batch of {_batch_size(loader)} images, but there are {len(loader.sampler)} in each '
            f'process, and drop_last leaves them out: take {key}.batch_size={len(loader.sampler)} or less, or '
            f'{key}.drop_last=False',
        )


def _endless(loader: DataLoader) -> bool:
    sampler = loader.sampler
    return isinstance(getattr(sampler, 'sampler', sampler), InfiniteSampler) or bool(getattr(sampler, 'endless', False))


def _batch_size(loader: DataLoader) -> int | None:
    return loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)


@contextlib.contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Leave random numbers and the modes of modules as they were."""
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            for module, mode in modes:
                module.training = mode


def check_lone_image(key: str, model: nn.Module, loader: DataLoader) -> Iterator[Finding]:
    """Look for a batch of one image where batch normalisation has one value of it, and nothing to take a mean of.

    Args:
        key (str): The config key of the data loader.
        model (nn.Module): The model.
        loader (DataLoader): The data loader of the training.

    Yields:
        Finding: An error that names the first such layer.
    """
    size, images = _batch_size(loader), len(loader.sampler)
    last = bool(loader.batch_size) and not loader.drop_last and not _endless(loader) and images % (size or 1) == 1
    if size != 1 and not last:
        return
    while is_model_wrapper(model):
        model = model.module
    layer = _single_valued(model, loader)
    if layer:
        yield Finding(
            'error',
            key,
            f'{layer} normalises by the values of a batch, and of one image it has a single one: '
            + (
                f'{key}.batch_size must be at least 2 in each process, but got 1'
                if size == 1
                else f'of {images} images in batches of {size} the last batch is one: take {key}.drop_last=True'
            ),
        )


def _single_valued(model: nn.Module, loader: DataLoader) -> str | None:
    """Name a batch normalisation that has one value of each channel of an image in training."""
    found = []

    def look(module: nn.Module, inputs: tuple, name: str) -> None:
        if inputs[0].numel() == inputs[0].shape[0] * inputs[0].shape[1]:
            found.append(name)

    with _undisturbed(model):
        model.train()
        norms = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
            if not isinstance(module, nn.SyncBatchNorm) or get_world_size() == 1
        ]
        if not norms:
            return None
        model.eval()  # draws nothing, and leaves the statistics alone
        hooks = [
            module.register_forward_pre_hook(lambda module, inputs, name=name: look(module, inputs, name))
            for name, module in norms
        ]
        try:
            data = model.data_preprocessor(loader.collate_fn([loader.dataset[0]]), False)
            model(**data, mode='tensor')
        except Exception:  # a model that has no such mode: what takes vectors is known all the same
            found += [name for name, module in norms if isinstance(module, nn.BatchNorm1d)]
        finally:
            for hook in hooks:
                hook.remove()
    return found[0] if found else None


def check_sizes(key: str, model: nn.Module, loader: DataLoader, training: bool) -> Iterator[Finding]:
    """Make sure that images of other sizes become a batch: those of the largest and the smallest shapes are tried.

    Args:
        key (str): The config key of the data loader.
        model (nn.Module): The model.
        loader (DataLoader): The data loader.
        training (bool): Whether it is that of the training.

    Yields:
        Finding: An error where they do not.
    """
    size = _batch_size(loader)
    if size is None or size < 2 or len(loader.dataset) < 2:
        return
    while is_model_wrapper(model):
        model = model.module
    shapes = _image_sizes(loader.dataset)
    if len(set(shapes.values())) < 2:
        return
    orders = [lambda index: shapes[index][0] / shapes[index][1], lambda index: shapes[index][0] * shapes[index][1]]
    picks = {extreme(shapes, key=order): None for order in orders for extreme in (min, max)}
    with _undisturbed(model):
        model.train(training)
        samples = [(index, loader.dataset[index]) for index in picks]
        inputs = [sample.get('inputs') if isinstance(sample, dict) else None for _, sample in samples]
        if not all(isinstance(one, torch.Tensor) for one in inputs) or len({one.shape for one in inputs}) < 2:
            return
        other = next(place for place, one in enumerate(inputs) if one.shape != inputs[0].shape)
        pair = [samples[0], samples[other]]
        try:
            model.data_preprocessor(loader.collate_fn([sample for _, sample in pair]), training)
        except Exception as error:
            names = [
                f'{_info(loader.dataset, index).get("img_path", index)} is {tuple(sample["inputs"].shape[1:])}'
                for index, sample in pair
            ]
            yield Finding(
                'error',
                key,
                f'images of a batch must have one size when they leave the pipeline, but {" and ".join(names)} '
                f'({str(error).splitlines()[0]}): let {key}.dataset.pipeline resize and crop to a fixed size, or take '
                f'{key}.batch_size=1',
            )


def _image_sizes(dataset: object) -> dict[int, tuple[int, int]]:
    """Read the sizes of some images, evenly spread over a dataset, by their indices."""
    found = {}
    for index in spread(range(len(dataset)), SECONDS):
        path = _info(dataset, index).get('img_path')
        if isinstance(path, str):
            try:
                with Image.open(path) as image:
                    found[index] = image.size
            except Exception:  # not on this machine, or no image: who loads it will say so
                continue
        if len(found) == SAMPLE:
            break
    return found


def check_labels(key: str, dataset: object, classes: int | None) -> Iterator[Finding]:
    """Make sure that a classifier is trained on images with labels.

    Args:
        key (str): The config key of the dataset.
        dataset (Dataset): The training data.
        classes (int, optional): How many classes are predicted; None where none are.

    Yields:
        Finding: An error.
    """
    info = _info(dataset, 0) if len(dataset) else {}
    labels = {'gt_label', 'gt_score', 'instances', 'seg_map_path', 'label_map'}
    if classes and 'img_path' in info and not labels & info.keys():
        yield Finding('error', key, 'a head of classes needs labels, but the training data has none: with_label=True')


def check_metrics(key: str, metrics: Sequence[object], dataset: object, classes: int | None) -> Iterator[Finding]:
    """Make sure that metrics have what they count: labels, and as many classes as their top-k.

    Args:
        key (str): The config key of the evaluator.
        metrics (Sequence[BaseMetric]): Its metrics.
        dataset (Dataset): What is evaluated.
        classes (int, optional): How many classes are predicted.

    Yields:
        Finding: An error.
    """
    for metric in metrics:
        top = getattr(metric, 'topk', None)
        top = [top] if isinstance(top, int) else top
        if classes and isinstance(top, (list, tuple)) and top and max(top) > classes:
            fitting = tuple(k for k in top if k <= classes) or (1,)
            yield Finding(
                'error',
                key,
                f'topk of {type(metric).__name__} must be at most {classes}, the number of classes, but got '
                f'{tuple(top)}: take {key}.topk={fitting}',
            )
        info = _info(dataset, 0) if len(dataset) else {}
        if 'img_path' in info and 'gt_label' not in info and type(metric).__module__.startswith('mmpretrain.'):
            yield Finding(
                'error',
                key,
                f'{type(metric).__name__} needs labels, but the data has none: give it labels, or take '
                f'{key}=None to predict without',
            )
