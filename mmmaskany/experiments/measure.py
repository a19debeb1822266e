# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a report says of trained networks beside the metric of their last validation.

What each predicts on every validation image, how it bears occlusion, what it costs, and where it looks. What was
measured is kept beside the run, so that a report is written anew in seconds.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset, Subset

from mmmaskany.analysis.candidates import build_evaluator
from mmmaskany.analysis.named_patterns import pattern_cfg
from mmmaskany.analysis.occlusion import occlude
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.reading import silence, still
from mmmaskany.engine.hooks.launch_check_hook import check_checkpoint
from mmmaskany.engine.launch import collate_tensors
from mmmaskany.inference.samples import count_flops, draw_batch
from mmmaskany.masking import ConstantFill
from mmmaskany.models.algebra import build_pattern

from .plan import Plan
from .runs import METRICS, Run
from .timing import Work

#: At most so many images are masked.
OCCLUDED = 500
#: Which masks, and how much of the image they take.
OCCLUSIONS = ('random', 'patch')
SHARES = (0.25, 0.5, 0.75)
#: Detections below it are not looked at.
SCORE = 0.3


class Measured(NamedTuple):
    """What was measured of a run.

    Args:
        occlusion (list[dict]): For each ``pattern`` and ``masked`` share the metric of the task, ``value``.
        predicted (np.ndarray): The class of each image ``(N,)`` (classification), or of 32 x 32 places of each
            ``(N, 32, 32)`` (segmentation); nothing of detection.
        score (np.ndarray): The probability of its true class ``(N,)``, of classification.
        found (list): The boxes of each image above :data:`SCORE`, with their class, of detection.
    """

    occlusion: list[dict]
    predicted: np.ndarray
    score: np.ndarray
    found: list


def load(run: Run, work_dir: Path) -> tuple[nn.Module, Config, Dataset]:
    """Build the network of a run, fill it with what it learned, and build its validation data.

    Args:
        run (Run): The run, finished.
        work_dir (Path): The folder of all runs.

    Returns:
        tuple[nn.Module, Config, Dataset]: The network in evaluation mode, its config and the data.

    Raises:
        ValueError: If the checkpoint is of another network.
    """
    cfg = Config.fromfile(run.config)
    init_default_scope(cfg.default_scope)
    collate_tensors(cfg)
    with still():
        model = MODELS.build(cfg.model)
        checkpoint = run.checkpoint(work_dir)
        check_checkpoint(model, read_checkpoint(checkpoint), str(checkpoint), complete=True)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model.dataset_meta = dataset.metainfo
    return model.to(get_device()).eval(), cfg, dataset


def measure(run: Run, plan: Plan) -> Measured:
    """Measure a run, or read what was measured before.

    Args:
        run (Run): The run, finished.
        plan (Plan): The plan.

    Returns:
        Measured: What was measured.
    """
    folder = plan.out / run.folder
    kept, arrays = folder / 'measured.json', folder / 'measured.npz'
    if not (kept.is_file() and arrays.is_file()):
        measured = _measure(run, plan)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, predicted=measured.predicted, score=measured.score)
        atomic_write(arrays, buffer.getvalue())
        atomic_write(kept, json.dumps(dict(occlusion=measured.occlusion, found=measured.found)).encode())
    with np.load(arrays) as stored:
        return Measured(predicted=stored['predicted'], score=stored['score'], **json.loads(kept.read_text()))


def _measure(run: Run, plan: Plan) -> Measured:
    model, cfg, dataset = load(run, plan.out)
    task, count = plan.data.task, len(dataset)
    chosen = {index * count // OCCLUDED for index in range(OCCLUDED)} if count > OCCLUDED else set(range(count))
    rest = [index for index in range(count) if index not in chosen] if task == 'classification' else []
    predicted: dict[int, object] = {}
    score: dict[int, float] = {}
    found: dict[int, list] = {}

    def note(place: int, sample: object) -> None:
        if task == 'classification':
            predicted[place] = int(sample.pred_label)
            score[place] = float(sample.pred_score[int(sample.gt_label)])
        elif task == 'segmentation':
            labels = sample.pred_sem_seg.data[0].cpu().numpy()
            rows, cols = (np.linspace(0, side - 1, 32).astype(int) for side in labels.shape)
            predicted[place] = labels[np.ix_(rows, cols)]
        else:
            boxes = sample.pred_instances
            boxes = boxes[boxes.scores >= SCORE].cpu()
            found[place] = [
                [*map(round, box), label]
                for box, label in zip(boxes.bboxes.tolist(), boxes.labels.tolist(), strict=True)
            ]

    occlusion = _occluded(model, cfg, Subset(dataset, sorted(chosen)), plan, note, sorted(chosen))
    if rest:
        for places, _, samples in _predictions(model, cfg, Subset(dataset, rest)):
            for place, sample in zip(places, samples, strict=True):
                note(rest[place], sample)
    order = sorted(predicted)
    return Measured(
        occlusion,
        np.array([predicted[place] for place in order], np.int32),
        np.array([score[place] for place in order] if score else [], np.float32),
        [found[place] for place in sorted(found)],
    )


def _batches(model: nn.Module, cfg: Config, dataset: Dataset) -> Iterator[tuple[list[int], dict, dict]]:
    """Yield the places of images, the batch as loaded, and as the network takes it."""
    loader = dict(cfg.test_dataloader, dataset=dataset, persistent_workers=False)
    first = 0
    for data in Runner.build_dataloader(loader):
        batch = model.data_preprocessor(data, False)
        size = len(batch['inputs'])
        yield list(range(first, first + size)), data, batch
        first += size


def _predictions(model: nn.Module, cfg: Config, dataset: Dataset) -> Iterator[tuple[list[int], dict, Sequence]]:
    for places, data, batch in _batches(model, cfg, dataset):
        with torch.no_grad():
            yield places, data, model(batch['inputs'], batch['data_samples'], mode='predict')


def _occluded(
    model: nn.Module, cfg: Config, dataset: Subset, plan: Plan, note: object, indices: Sequence[int]
) -> list[dict]:
    """Test a network on whole and on masked images."""
    dense = plan.data.task != 'classification'
    patterns, shares = (OCCLUSIONS[:1], SHARES[:2]) if dense else (OCCLUSIONS, SHARES)
    tests = [('', 0.0), *((name, share) for name in patterns for share in shares)]
    with still():
        evaluators = [build_evaluator(cfg, dataset.dataset, indices) for _ in tests]
    preprocessor = model.data_preprocessor
    fill = ConstantFill((-preprocessor.mean / preprocessor.std).flatten().tolist())
    built: dict[tuple, object] = {}
    for places, data, batch in _batches(model, cfg, dataset):
        images, size = batch['inputs'], tuple(batch['inputs'].shape[-2:])
        for (name, share), evaluator in zip(tests, evaluators, strict=True):
            masked = images
            if name:
                key = (name, share, size)
                if key not in built:
                    built[key] = build_pattern(pattern_cfg(name, min(size), ratio=share))
                masked = occlude(images, built[key], fill, places[0])
            with torch.no_grad():
                samples = model(masked, copy.deepcopy(batch['data_samples']), mode='predict')
            if not name:
                for place, sample in zip(places, samples, strict=True):
                    note(indices[place], sample)
            evaluator.process(data_samples=samples, data_batch=data)
    metric = plan.metrics[0]
    rows = []
    with still():
        for (name, share), evaluator in zip(tests, evaluators, strict=True):
            value = evaluator.evaluate(len(dataset)).get(metric, 0.0) * METRICS[metric][1]
            rows.append(dict(pattern=name, masked=share, value=round(max(0.0, float(value)), 4)))
    return rows


class Cost(NamedTuple):
    """What a variant costs.

    Args:
        parameters (int): Its parameters.
        macs (float): Multiply-accumulates of one image.
        memory (float): Peak memory of a training step in MiB.
    """

    parameters: int
    macs: float
    memory: float


def cost(config: Path, plan: Plan) -> Cost:
    """Measure what a variant costs, on drawn images.

    Args:
        config (Path): Its config.
        plan (Plan): The plan.

    Returns:
        Cost: The cost.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    with silence():
        model = MODELS.build(cfg.model).to(get_device())
    size = (plan.size, plan.size)
    with count_flops() as counter:
        model.eval()
        one = model.data_preprocessor(draw_batch(model, cfg.default_scope, 1, size), False)
        model(one['inputs'], one['data_samples'], mode='predict')
    macs = counter.get_total_flops() / 2
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    wrapper = OptimWrapper(optimizer)
    batch = draw_batch(model, cfg.default_scope, plan.batch, size)
    work = Work(model, lambda: model.train_step(copy.deepcopy(batch), wrapper), optimizer)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), macs, work.peak())
