# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The variants of a network that an experiment compares, by their names: what each changes in the plain config."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .data import TASKS

if TYPE_CHECKING:
    from .plan import Plan


class Variant(NamedTuple):
    """A variant.

    Args:
        title (str): What tables call it.
        what (str): What it is, for the plan and the config.
        changes (Callable | None): What it changes in the plain config. Defaults to None: it is a variant of 'maskany',
            by the rule of its name, see :data:`mmmaskany.experiments.variant_rules.RULES`.
        tasks (Sequence[str]): The tasks that it is for. Defaults to all.
    """

    title: str
    what: str
    changes: Callable[[Plan], dict] | None = None
    tasks: Sequence[str] = TASKS


def pattern(size: int) -> dict:
    """Write the mixture of masks: in four images of ten a grid of cells, or one large patch, a quarter of the image.

    Args:
        size (int): Side of the images in pixels; cells are 4, 8 and 16 px of 224.

    Returns:
        dict: The config of the pattern.
    """
    base = max(1, round(size / 56))
    return dict(
        type='mmmaskany.MixturePattern',
        patterns=[
            dict(type='mmmaskany.GridPattern', scale=0.5, cell=[base, 2 * base, 4 * base], base=base),
            dict(type='mmmaskany.PatchPattern', scale=0.5, base=base),
        ],
        probs=[0.2, 0.2],
    )


def _masking(plan: Plan, **more: object) -> dict:
    mean, std = plan.network.normalisation['mean'], plan.network.normalisation['std']
    black = [round(-m / s, 4) for m, s in zip(mean, std, strict=True)]
    return dict(pattern=pattern(plan.size), fill=dict(type='mmmaskany.ConstantFill', value=black), **more)


def _augment(plan: Plan) -> dict:
    """Write AutoAugment of the second stem's view, of images as the data preprocessor makes them."""
    pixels = plan.network.normalisation
    numbers = dict(mean=list(pixels['mean']), std=list(pixels['std']), bgr=not pixels.get('to_rgb', False))
    return dict(type='mmmaskany.AutoAugmentViews', policy='imagenet', **numbers)


def _unmasked_augmented(plan: Plan) -> dict:
    masking = _masking(plan, augment=_augment(plan))
    masking['pattern']['probs'] = [0.0 for _ in masking['pattern']['probs']]
    return _maskany(plan, masking)


def _maskany(plan: Plan, masking: dict) -> dict:
    backbone = copy.deepcopy(plan.backbone)
    start = backbone.pop('init_cfg', None)
    changed = dict(_delete_=True, type='mmmaskany.MaskAny', backbone=backbone, masking=masking)
    if start is not None:
        changed['init_cfg'] = start
    return dict(model=dict(backbone=changed))


def _insert(plan: Plan, step: dict) -> dict:
    """Put a step into the training pipeline, before packing."""
    pipeline = copy.deepcopy(plan.train_pipeline)
    return dict(train_dataloader=dict(dataset=dict(pipeline=[*pipeline[:-1], step, pipeline[-1]])))


def _erasing(plan: Plan, low: float, high: float, prob: float, square: bool) -> dict:
    ratio = dict(aspect_range=(1.0, 1.0)) if square else {}
    step = dict(type='RandomErasing', erase_prob=prob, min_area_ratio=low, max_area_ratio=high, mode='const', **ratio)
    return _insert(plan, step)


def _cell(plan: Plan) -> int:
    """Return the side of cells, about a seventh of the image's, that leave no strip of it which is never masked."""
    wanted = 8 * max(1, round(plan.size / 56))
    if plan.data.task == 'detection':  # images of several sizes, padded to multiples of 32 px
        return 16 if wanted <= 16 else 32
    divisors = [side for side in range(plan.size // 16, plan.size // 4 + 1) if side and plan.size % side == 0]
    return min(divisors, key=lambda side: abs(side - wanted), default=wanted)


def _cells(plan: Plan, ratio: float) -> dict:
    """Write masks of cells anywhere."""
    return dict(type='mmmaskany.RandomPattern', ratio=ratio, cell=_cell(plan), base=_cell(plan))


def _masksub(plan: Plan) -> dict:
    """Put MaskSub around the plain network: in the second branch half of the cells are the mean colour."""
    cells = _cells(plan, 0.5)
    kind = dict(classification='Classifier', detection='Detector', segmentation='Segmentor')[plan.data.task]
    return dict(
        model=dict(
            type=f'mmmaskany.MaskSub{kind}',
            sub_masking=dict(type='mmmaskany.FillCells', pattern=cells),
            **(_host(plan) if plan.data.task == 'detection' else dict(sub_norm='update')),
        ),
        model_wrapper_cfg=dict(type='mmmaskany.OwnStepDistributedDataParallel'),
    )


def _host(plan: Plan) -> dict:
    """Name the plain detector, in whose place another stands."""
    return dict(host='mmdet.MaskRCNN' if plan.data.masks else 'mmdet.FasterRCNN')


def _hidden(plan: Plan, policy: str) -> dict:
    """Mask the images of the plain detector or segmentor: a quarter, in cells anywhere, in four of ten."""
    masking = _masking(plan, reuse=False)
    masking['pattern'] = dict(type='mmmaskany.MixturePattern', patterns=[_cells(plan, 0.25)], probs=[0.4])
    if plan.data.task == 'segmentation':
        weight = dict(keep=1.0, ignore=0.0)[policy]
        return dict(model=dict(type='mmmaskany.MaskedSegmentor', masking=masking, hidden_weight=weight))
    objects = dict(policy=policy, min_visible=0.5)
    if policy == 'spare':
        objects['min_area'] = _cell(plan) ** 2
    model = dict(type='mmmaskany.MaskedDetector', **_host(plan), masking=masking, objects=objects)
    if policy == 'ignore':  # which mmdet's assigners mind only where they are told to
        model['train_cfg'] = {part: dict(assigner=dict(ignore_iof_thr=0.5)) for part in ('rpn', 'rcnn')}
    return dict(model=model)


#: The variants by name; the first is what all others are compared with.
VARIANTS = {
    'plain': Variant('plain', 'the plain network', lambda plan: {}),
    'maskany': Variant(
        'MaskAny',
        'MaskAny around it: a quarter of the image is masked in four of ten, and comes back through a second stem',
        lambda plan: _maskany(plan, _masking(plan)),
    ),
    'unmasked': Variant('unmasked', 'MaskAny around it, nothing masked'),
    'noreuse': Variant('no reuse', 'MaskAny around it, what is masked is lost'),
    'aligned': Variant(
        'MaskAny aligned',
        "as MaskAny, and the second stem's features are put back where their cells came from",
    ),
    'in-place': Variant(
        'MaskAny in place',
        'as MaskAny, but what is masked is seen at half the resolution where it is, not stitched together',
    ),
    'early': Variant('MaskAny early', 'as MaskAny, and nothing is masked in the last third of the epochs'),
    'maskany-autoaugment': Variant(
        'MaskAny + AutoAugment',
        'as MaskAny, and the second stem sees unmasked images after AutoAugment',
        lambda plan: _maskany(plan, _masking(plan, augment=_augment(plan))),
        tasks=TASKS[:1],
    ),
    'unmasked-autoaugment': Variant(
        'unmasked + AutoAugment',
        'MaskAny around it, nothing masked; the second stem sees every image after AutoAugment',
        _unmasked_augmented,
        tasks=TASKS[:1],
    ),
    'autoaugment': Variant(
        'AutoAugment',
        'the plain network; AutoAugment of every image',
        lambda plan: _insert(plan, dict(type='mmmaskany.TorchvisionAutoAugment', policy='imagenet')),
        tasks=TASKS[:1],
    ),
    'cutout': Variant(
        'Cutout',
        'the plain network; a black square, a quarter of the image, in four of ten',
        lambda plan: _erasing(plan, 0.25, 0.25, 0.4, square=True),
        tasks=TASKS[:1],
    ),
    'random-erasing': Variant(
        'Random Erasing',
        'the plain network; a black rectangle of 2 to 33 % in four images of ten',
        lambda plan: _erasing(plan, 0.02, 1 / 3, 0.4, square=False),
        tasks=TASKS[:1],
    ),
    'cutmix': Variant(
        'CutMix',
        'the plain network; in four batches of ten a rectangle of each image is from another one',
        lambda plan: dict(model=dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.4))),
        tasks=TASKS[:1],
    ),
    'masksub': Variant(
        'MaskSub',
        'the plain network, which also learns from a half-masked view what it says of the whole one',
        _masksub,
    ),
    'masked-keep': Variant(
        'masked (all kept)',
        'the plain network; in four images of ten a quarter is black, in cells, and what they hide is a target',
        lambda plan: _hidden(plan, 'keep'),
        tasks=TASKS[1:],
    ),
    'masked-ignore': Variant(
        'masked (hidden ignored)',
        'the same masks; what they hide, pixels or objects of which less than half is seen, does not count',
        lambda plan: _hidden(plan, 'ignore'),
        tasks=TASKS[1:],
    ),
    'masked-drop': Variant(
        'masked (hidden dropped)',
        'the same masks; objects of which less than half is seen are background',
        lambda plan: _hidden(plan, 'drop'),
        tasks=TASKS[1:2],
    ),
    'masked-spare': Variant(
        'masked (objects spared)',
        'the same masks, moved: of every object at least half stays visible, and of those smaller than a cell all',
        lambda plan: _hidden(plan, 'spare'),
        tasks=TASKS[1:2],
    ),
}


def check_variants(names: Sequence[str], task: str | None, epochs: int | None = None) -> list[str]:
    """Make sure that variants are known and fit the task.

    Args:
        names (Sequence[str]): Their names.
        task (str | None): 'classification', 'detection' or 'segmentation'; None where it is not known yet.
        epochs (int, optional): How long they train. Defaults to None, which is the recipe's and long enough.

    Returns:
        list[str]: The names, 'plain' first, each once.

    Raises:
        ValueError: If one is not known, is not for the task, or needs more epochs.
    """
    names = list(dict.fromkeys(str(name).lower() for name in names))
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ValueError(f'--variants must be of {", ".join(VARIANTS)}, but got {", ".join(unknown)}')
    if wrong := [name for name in names if task is not None and task not in VARIANTS[name].tasks]:
        fitting = ', '.join(name for name, variant in VARIANTS.items() if task in variant.tasks)
        raise ValueError(f'--variants of {task} must be of {fitting}, but got {", ".join(wrong)}')
    if 'early' in names and epochs == 1:
        raise ValueError(
            'the variant early masks in the first two thirds of the epochs, so --epochs must be at least 2, but got 1: '
            'with one it would be the same as maskany'
        )
    return sorted(names, key=lambda name: name != 'plain')
