# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Trained networks side by side, on the test data of their own configs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from mmmaskany.checkpoints.protection import read_checkpoint

#: The tasks by the scopes of their configs.
TASKS = {'mmpretrain': 'classifier', 'mmdet': 'detector', 'mmseg': 'segmentor'}


class Candidate(NamedTuple):
    """A trained network.

    Args:
        label (str): What tables and plots call it. Several of one label are repetitions, such as seeds.
        config (Path): Its config.
        checkpoint (Path): Its checkpoint.
    """

    label: str
    config: Path
    checkpoint: Path

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of a command line that name candidates and their images.

        Args:
            parser (argparse.ArgumentParser): The parser.
        """
        parser.add_argument(
            '--model',
            nargs=3,
            action='append',
            required=True,
            metavar=('LABEL', 'CONFIG', 'CHECKPOINT'),
            help='a trained network; give it several times, with one label for the seeds of one method',
        )
        parser.add_argument('--num-images', type=int, help='test images, evenly spread over all (default: all)')
        parser.add_argument('--device', help='where to run (default: the first GPU, if any)')

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> list[Candidate]:
        """Return the candidates of a command line.

        Args:
            args (argparse.Namespace): What the parser of :meth:`add_arguments` gave.

        Returns:
            list[Candidate]: The candidates, in the order in which they were given.
        """
        return [cls(label, Path(config), Path(checkpoint)) for label, config, checkpoint in args.model]


class Loaded(NamedTuple):
    """A network in evaluation mode, with its test data.

    Args:
        model (nn.Module): The network.
        dataset (Dataset): All of its test data.
        places (Sequence[int]): Which of them are taken.
        cfg (Config): Its config.
    """

    model: nn.Module
    dataset: Dataset
    places: Sequence[int]
    cfg: Config

    def batches(self, shift: int = 0) -> Iterator[tuple[Tensor, Sequence]]:
        """Yield the test data as the model takes it.

        Args:
            shift (int): Yield in the place of each image the one so many further on, and the first after the last.
                Defaults to 0.

        Yields:
            tuple[Tensor, Sequence]: Normalised images ``(B, C, H, W)`` and their data samples, whose ``unpadded`` is
            the height and width of each before it was padded to those of its batch.

        Raises:
            ValueError: If the test pipeline does not give plain images.
        """
        places = [self.places[(index + shift) % len(self.places)] for index in range(len(self.places))]
        loader = dict(
            self.cfg.test_dataloader,
            dataset=Subset(self.dataset, places),
            sampler=dict(type='DefaultSampler', shuffle=False),
            persistent_workers=False,
        )
        for data in Runner.build_dataloader(loader):
            batch = self.model.data_preprocessor(data, False)
            if not isinstance(batch['inputs'], Tensor):
                kind = type(batch['inputs']).__name__
                raise ValueError(f'the test data of {self.cfg.filename} must be plain images, but is a {kind} of them')
            for sample, image in zip(batch['data_samples'], data['inputs'], strict=True):
                sample.set_metainfo(dict(unpadded=tuple(image.shape[-2:])))
            yield batch['inputs'], batch['data_samples']


def load_candidate(
    candidate: Candidate,
    num_images: int | None = None,
    device: str | None = None,
    scopes: Sequence[str] = ('mmpretrain',),
) -> Loaded:
    """Build a network, fill it from its checkpoint, and build its test data.

    Args:
        candidate (Candidate): The network.
        num_images (int | None): Number of test images, evenly spread over all. None are all. Defaults to None.
        device (str | None): Where to; None is the first GPU, or the CPU where there is none. Defaults to None.
        scopes (Sequence[str]): Of what tasks it may be, by the scopes of their configs. Defaults to classifiers.

    Returns:
        Loaded: The network.

    Raises:
        FileNotFoundError: If config, checkpoint or data are missing.
        ValueError: If the config is of another task, the checkpoint of another network, the heads have other classes
            than the data, or num_images is not positive.
    """
    from mmmaskany.engine.checks.config import read_config
    from mmmaskany.engine.hooks.launch_check_hook import check_checkpoint, check_class_count  # imports mmcv
    from mmmaskany.engine.launch import collate_tensors

    if num_images is not None and num_images < 1:
        raise ValueError(f'the number of images must be at least 1, but got {num_images}')
    cfg = read_config(str(candidate.config))
    scope = cfg.get('default_scope')
    if scope not in scopes:
        kinds = ' or '.join(TASKS[name] for name in scopes)
        raise ValueError(f'{candidate.config} must be the config of a {kinds}, but is of {scope}')
    init_default_scope(scope)
    checkpoint = read_checkpoint(candidate.checkpoint)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor', ConfigDict()))
    model = MODELS.build(cfg.model)
    check_checkpoint(model, checkpoint, str(candidate.checkpoint), complete=True)

    collate_tensors(cfg)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model.dataset_meta = dataset.metainfo
    classes = dataset.metainfo.get('classes')
    if classes is not None:
        check_class_count(model, len(classes), 'the test data')
    count = len(dataset)
    taken = count if num_images is None else min(num_images, count)
    places = [index * count // taken for index in range(taken)]
    return Loaded(model.to(device or get_device()).eval(), dataset, places, cfg)


def build_evaluator(cfg: Config, dataset: Dataset, places: Sequence[int]) -> Evaluator:
    """Build the test evaluator of a part of a dataset.

    Args:
        cfg (Config): The config.
        dataset (Dataset): All of the data.
        places (Sequence[int]): Which of them are tested.

    Returns:
        Evaluator: The evaluator.
    """
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for metric in evaluator.metrics:
        if hasattr(metric, 'img_ids'):  # CocoMetric would count the images that are left out as missed
            metric.img_ids = [dataset.get_data_info(place)['img_id'] for place in places]
    return evaluator
