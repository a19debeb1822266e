# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is chosen for an experiment: sizes, recipe and, for detectors, anchors; and how that is told to a person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .data import Data
from .networks import Network
from .variants import VARIANTS

#: Epochs: from weights, and from scratch.
EPOCHS = {'classification': (20, 100), 'detection': (12, 36), 'segmentation': (40, 120)}
#: Images in a step, over all processes.
BATCH = {'classification': 32, 'detection': 4, 'segmentation': 4}
#: Learning rates of AdamW for a batch of that size: convolutions and attention, from weights.
RATES = {'classification': (5e-4, 2e-4), 'detection': (2e-4, 1e-4), 'segmentation': (2e-4, 1e-4)}
#: What is reported: the metric of the task first.
METRICS = {
    'classification': ['accuracy/top1'],
    'detection': ['coco/bbox_mAP'],
    'segmentation': ['mIoU'],
}
_LAST = 'the last epoch counts, never the best'
#: How much faster a new head learns than what it is put on.
HEAD_RATE = 5.0


@dataclass
class Plan:
    """What is chosen.

    Args:
        data (Data): What the images are.
        network (Network): The plain network.
        out (Path): Where everything is written.
        variants (list[str]): The variants, the first is what the others are compared with.
        seeds (list[int]): The seeds of each.
        epochs (int): How long each trains.
        size (int): Side of the images in pixels: of the square (classification, segmentation), or at most the longer
            side (detection).
        amp (bool): Whether in mixed precision.
        channels_last (bool): Whether the channels of a pixel lie side by side in memory.
        gpus (int): Processes of each run.
        rate (float): Learning rate.
        width (int): Channels of the pyramid, of detectors and segmentors.
        anchor_scale (float): Side of the anchors in strides, of detectors.
        anchor_ratios (list[float]): Their heights by their widths.
        train_pipeline (list[dict]): What is done to an image to train on.
        backbone (dict): The plain backbone, with the weights that it starts from.
        weights (str | None): The file of the weights as it was given, 'hub' for those that are published, or None.
        edited (list[str]): Configs that are not as they were written, by name.
    """

    data: Data
    network: Network
    out: Path
    variants: list[str]
    seeds: list[int]
    epochs: int
    size: int
    amp: bool = False
    channels_last: bool = False
    gpus: int = 1
    rate: float = 0.0
    width: int = 0
    anchor_scale: float = 8.0
    anchor_ratios: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0])
    train_pipeline: list[dict] = field(default_factory=list)
    backbone: dict = field(default_factory=dict)
    weights: str | None = None
    edited: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> list[str]:
        """list[str]: The metrics of the task, the first is the main one."""
        return METRICS[self.data.task] + ['coco/segm_mAP'] * self.data.masks

    @property
    def batch(self) -> int:
        """int: Images of a step in each process."""
        return max(1, BATCH[self.data.task] // self.gpus)

    @property
    def frozen_statistics(self) -> bool:
        """bool: Whether batch normalisation keeps the statistics of the weights, for small batches of dense tasks."""
        names = self.network.start or {}
        return self.data.task != 'classification' and any(name.endswith('running_var') for name in names)

    @property
    def hooks(self) -> list[dict]:
        """list[dict]: The hooks of the plain config beside the libraries' own."""
        chosen = dict(ChannelsLastHook=self.channels_last, FrozenNormHook=self.frozen_statistics)
        return [dict(type=f'mmmaskany.{name}') for name, wanted in chosen.items() if wanted]

    @property
    def share(self) -> int:
        """int: Images of an epoch in each process; detectors leave out those without an object."""
        split = self.data.splits['train']
        images = len(split.samples)
        if self.data.task == 'detection':
            with_objects = {box['image_id'] for box in split.content['annotations']}
            images = sum(sample.id in with_objects for sample in split.samples)
        return -(-images // self.gpus)

    @property
    def drops_last(self) -> bool:
        """bool: Whether a last batch is left out: one of a single image, whose features may be one number a channel."""
        return self.data.task != 'detection' and self.share % self.batch == 1

    @property
    def steps(self) -> int:
        """int: Steps of an epoch."""
        return self.share // self.batch if self.drops_last else -(-self.share // self.batch)

    def identity(self) -> dict:
        """Say in plain numbers what all runs of the experiment share; what differs is another experiment.

        Returns:
            dict: Without the variants and the number of seeds, which may be added later. Of the lists of images and
            labels, of the network's config and of the weights that it starts from there are digests.
        """
        network = self.network
        listed = [
            self.data.classes,
            *((name, split.samples, split.content) for name, split in self.data.splits.items()),
        ]
        splits = {name: len(split.samples) for name, split in self.data.splits.items()}
        return dict(
            data=str(self.data.path),
            task=self.data.task,
            classes=len(self.data.classes),
            images=splits,
            model=network.name,
            pretrained=network.start is not None,
            epochs=self.epochs,
            size=self.size,
            batch=self.batch * self.gpus,
            rate=self.rate,
            amp=self.amp,
            channels_last=self.channels_last,
            data_digest=_digest(repr(listed)),
            network_digest=_digest(repr((network.backbone, network.neck, network.head, network.normalisation))),
            weights_digest=_digest(*(part for item in (network.start or {}).items() for part in item)),
        )


def _digest(*parts: str | Tensor) -> str:
    """Return eight hexadecimal digits that differ where texts or tensors do."""
    digest = hashlib.blake2b(digest_size=4)
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f'{part.dtype}{tuple(part.shape)}'.encode())
            part = part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def default_size(data: Data, side: int = 224) -> int:
    """Choose the side of the images, a multiple of 32.

    Args:
        data (Data): What the images are.
        side (int): What the network was trained with. Defaults to 224.

    Returns:
        int: For classification as large as the network's, but not larger than the images; for segmentation up to 512;
        for detection so that three objects of four reach 32 px, but not larger than the images.
    """
    if data.task == 'detection':
        small = float(np.quantile(np.sqrt(data.boxes.prod(1)), 0.25))
        longest = max(data.size)
        side = float(np.clip(32 / max(small, 1e-3), min(256, longest), min(longest, 1333)))
    elif data.task == 'segmentation':
        side = min(512, *data.size)
    else:
        side = min(side, *data.size)
    return max(32, int(side) // 32 * 32)


def choose(
    data: Data,
    network: Network,
    out: Path,
    variants: list[str],
    seeds: list[int],
    size: int,
    epochs: int | None = None,
    lr: float | None = None,
    amp: bool = False,
    channels_last: bool = False,
    gpus: int = 1,
    weights: str | None = None,
) -> Plan:
    """Choose a recipe.

    Args:
        data (Data): What the images are.
        network (Network): The plain network.
        out (Path): Where everything is to be written.
        variants (list[str]): The variants.
        seeds (list[int]): The seeds.
        size (int): Side of the images.
        epochs (int, optional): How long to train. Defaults to None, see :data:`EPOCHS`.
        lr (float, optional): Learning rate. Defaults to None, see :data:`RATES`.
        amp (bool): Whether in mixed precision. Defaults to False.
        channels_last (bool): Whether the channels of a pixel lie side by side in memory. Defaults to False.
        gpus (int): Processes of each run. Defaults to 1.
        weights (str, optional): What the network starts from, as it was given. Defaults to None.

    Returns:
        Plan: The plan.
    """
    task, fresh = data.task, network.start is None
    epochs = epochs or EPOCHS[task][fresh]
    plan = Plan(data, network, out, variants, seeds, epochs, size, amp, channels_last, gpus, weights=weights)
    plan.rate = lr or RATES[task][network.transformer] * (2 if fresh else 1)
    plan.width = next(
        (width for limit, width in ((0.5e6, 32), (2e6, 64), (8e6, 96), (20e6, 128)) if network.parameters < limit), 256
    )
    if task == 'detection':
        plan.anchor_scale, plan.anchor_ratios = anchors(data.boxes * size, network.strides[0])
    return plan


def anchors(boxes: np.ndarray, stride: int) -> tuple[float, list[float]]:
    """Derive anchors from boxes.

    Args:
        boxes (np.ndarray): Width and height in pixels, ``(N, 2)``.
        stride (int): Stride of the finest level of the pyramid.

    Returns:
        tuple[float, list[float]]: The side of an anchor in strides, so that one box in ten is smaller than the
        smallest anchor; and height by width at the tenth, the middle and the last tenth of the boxes, those that differ
        by less than a fifth taken together; never one alone.
    """
    small = float(np.quantile(np.sqrt(boxes.prod(1)), 0.1))
    scale = float(np.clip(round(2 * small / stride) / 2, 2, 8))
    ratios: list[float] = []
    for ratio in np.quantile(boxes[:, 1] / boxes[:, 0], [0.1, 0.5, 0.9]):
        if not ratios or ratio > 1.2 * ratios[-1]:
            ratios.append(round(float(ratio), 2))
    if len(ratios) == 1:  # mmdet's region proposals fail where a level of one place has one anchor
        ratios = [round(factor * ratios[0], 2) for factor in (0.7, 1.0, 1.4)]
    return scale, ratios


def many(count: int, what: str) -> str:
    """Write a number of things, such as '1 epoch' or '1,200 images'."""
    return f'{count:,} {what}{"" if count == 1 else "s"}'


def describe(plan: Plan) -> list[tuple[str, str]]:
    """Say in about ten lines what was found and chosen.

    Args:
        plan (Plan): The plan.

    Returns:
        list[tuple[str, str]]: What each line is about, and the line.
    """
    data, network = plan.data, plan.network
    counts = data.counts('train')
    images = ', '.join(f'{len(split.samples):,} {name}' for name, split in data.splits.items())
    if data.was_split:
        images += ' (split here; near-duplicates on one side)'
    if counts:
        what = 'image' if data.task == 'classification' else 'object'
        least = '' if min(counts) == max(counts) else f'{min(counts):,} to '
        images += f'; {least}{many(max(counts), what)} a class'
    pixels = network.normalisation
    heads = f' ({HEAD_RATE:g} times that for heads)' if network.start is not None else ''
    filled = [f'{plan.weights}: all {len(network.start):,} tensors.'] if network.start else []
    rows = [
        ('data', f'{data.path}: {data.layout}'),
        ('images', f'{images}; median {data.size[0]} x {data.size[1]} px'),
        *(('odd', text) for text in data.odd[:3]),
        ('network', f'{network.name}, {_parameters(network.parameters)}; {_model(plan)}'),
        ('weights', ' '.join([*filled, *network.said])),
        ('input', f'{_input(plan)}; mean {_numbers(pixels["mean"])}, std {_numbers(pixels["std"])}'),
        ('recipe', f'AdamW, rate {plan.rate:g}{heads}, cosine, batch {plan.batch * plan.gpus}{_how(plan)}'),
        ('budget', f'{many(plan.epochs, "epoch")} of {many(plan.steps, "step")}; {_time(plan)}{_LAST}'),
        ('variants', '; '.join(f'{VARIANTS[name].title}: {VARIANTS[name].what}' for name in plan.variants)),
        ('seeds', ' '.join(map(str, plan.seeds)) + ' of each'),
    ]
    return rows + ([('edited', said_of_edits(plan))] if plan.edited else [])


def said_of_edits(plan: Plan) -> str:
    """Say which configs a person edited: what is said of recipe, budget and variants is what was written first."""
    names = ', '.join(f'configs/{name}.py' for name in plan.edited)
    return f'{names} not as this command writes them: what stands there is trained, not what is said here'


def _parameters(count: int) -> str:
    return f'{count / 1e6:.1f} M parameters' if count >= 1e5 else f'{count:,} parameters'


def _how(plan: Plan) -> str:
    processes = f' in {plan.gpus} processes' if plan.gpus > 1 else ''
    number = 'float16' if torch.cuda.is_available() else 'bfloat16'
    frozen = ', statistics of batch normalisation as in the weights' if plan.frozen_statistics else ''
    precision = f', mixed precision ({number})' if plan.amp else ''
    return processes + precision + ', channels_last' * plan.channels_last + frozen


def _time(plan: Plan) -> str:
    """Estimate how long all runs take on this machine, where the network was timed."""
    if plan.network.seconds is None:
        return ''
    images = plan.epochs * len(plan.data.splits['train'].samples) * len(plan.variants) * len(plan.seeds)
    minutes = 3 * plan.network.seconds * images / 60  # backward takes twice as long as forward
    for unit, length in (('days', 1440), ('hours', 60), ('minutes', 1)):
        if minutes >= 2 * length:
            runs = many(len(plan.variants) * len(plan.seeds), 'run')
            return f'about {minutes / length:.0f} {unit} for {runs} on this CPU; '
    return ''


def _numbers(values: object) -> str:
    return ' '.join(f'{value:g}' for value in values)


def _model(plan: Plan) -> str:
    if plan.data.task == 'classification':
        return f'a new head of {len(plan.data.classes)} classes'
    if plan.data.task == 'segmentation':
        return f'Semantic FPN, {plan.width} channels'
    name = 'Mask R-CNN' if plan.data.masks else 'Faster R-CNN'
    sides = f'{plan.anchor_scale * plan.network.strides[0]:g} to {plan.anchor_scale * 2 * plan.network.strides[-1]:g}'
    return f'{name}, {plan.width} channels, anchors of {sides} px, height by width {_numbers(plan.anchor_ratios)}'


def _input(plan: Plan) -> str:
    size, interpolation = plan.size, plan.network.interpolation
    if plan.data.task == 'classification':
        return f'{size} px, {interpolation}; random resized crop and flip, centre crop to test'
    if plan.data.task == 'segmentation':
        return f'crops of {size} px, resized by 0.75 to 2, flip'
    return f'at most {size} px, resized by 0.8 to 1.2, flip'
