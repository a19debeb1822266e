# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a report says of trained networks beside the metric of their last validation.

What each predicts on every validation image, how it bears occlusion, what it costs, and where it looks. What was
measured is kept beside the run, so that a report is written anew in seconds.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn
from torch.utils.data import Dataset

from mmmaskany.analysis.candidates import Loaded
from mmmaskany.analysis.occlusion import by_pattern, evaluate_hidden, whole
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.reading import silence, still
from mmmaskany.engine.hooks.launch_check_hook import check_checkpoint
from mmmaskany.engine.launch import collate_tensors
from mmmaskany.inference.samples import count_flops, draw_batch

from ..plan import Plan
from ..runs import METRICS, Run
from ..timing import Work

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

    occlusion = _occluded(Loaded(model, dataset, sorted(chosen), cfg), plan, note)
    if rest:
        places = iter(rest)
        with torch.no_grad():
            for images, samples in Loaded(model, dataset, rest, cfg).batches():
                for sample in model(images, samples, mode='predict'):
                    note(next(places), sample)
    order = sorted(predicted)
    return Measured(
        occlusion,
        np.array([predicted[place] for place in order], np.int32),
        np.array([score[place] for place in order] if score else [], np.float32),
        [found[place] for place in sorted(found)],
    )


def _occluded(loaded: Loaded, plan: Plan, note: Callable[[int, object], None]) -> list[dict]:
    """Test a network on whole and on masked images; note what it predicts of the whole ones."""
    dense = plan.data.task != 'classification'
    patterns, shares = (OCCLUSIONS[:1], SHARES[:2]) if dense else (OCCLUSIONS, SHARES)
    tests = [(name, share) for name in patterns for share in shares]
    ways = [whole, *(by_pattern(name, share, loaded) for name, share in tests)]

    def note_all(first: int, samples: Sequence) -> None:
        for place, sample in zip(loaded.places[first:], samples, strict=False):
            note(place, sample)

    metric = plan.metrics[0]
    rows = []
    found = evaluate_hidden(loaded, ways, note=note_all)
    for (name, share), (metrics, _) in zip([('', 0.0), *tests], found, strict=True):
        value = metrics.get(metric, 0.0) * METRICS[metric][1]
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
