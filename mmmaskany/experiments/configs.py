# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The plan as ordinary configs, which ``tools/train.py`` trains and a person can edit."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import get_installed_path

from mmmaskany.checkpoints.atomic import atomic_write, reserve, serialise
from mmmaskany.engine.checks.data import check_data

from .data import Data
from .plan import HEAD_RATE, Plan, many
from .runs import available_cores
from .variant_rules import variant_text
from .variants import VARIANTS

_HEADER = '# Written by `mmmaskany finetune`; it may be edited, and trained by\n#     python tools/train.py {}\n'
#: What is written must leave so much for checkpoints, in bytes, for each parameter of each run.
_BYTES = 2 * 3 * 4
#: Characters of a line of a config.
_WIDTH = 116


def check_space(plan: Plan, make: bool = True) -> None:
    """Make sure that the folder of an experiment can be written, and has the space for the checkpoints of its runs.

    Args:
        plan (Plan): The plan.
        make (bool): Whether a folder that was missing is there afterwards. Defaults to True.

    Raises:
        OSError: If it cannot, or has not.
    """
    reserve(plan.out, plan.network.parameters * _BYTES * len(plan.variants) * len(plan.seeds), make)


def write(plan: Plan) -> dict[str, Path]:
    """Write the lists of the data, the weights and a config for each variant.

    What is there already is left as it is: a person may have edited it, which ``plan.edited`` says afterwards.

    Args:
        plan (Plan): The plan; its backbone and pipeline are filled in.

    Returns:
        dict[str, Path]: The config of each variant.

    Raises:
        OSError: If it cannot be written.
    """
    _write_lists(plan.data, plan.out / 'data')
    config = build(plan)
    if plan.network.start is not None and not (plan.out / 'weights.pth').is_file():
        tensors = {name: tensor.clone() for name, tensor in plan.network.start.items()}
        atomic_write(
            plan.out / 'weights.pth', serialise(dict(state_dict=tensors, meta=dict(network=plan.network.name)))
        )
    inherited = ['plain'] + ['maskany'] * any(VARIANTS[name].changes is None for name in plan.variants)
    paths = {name: plan.out / 'configs' / f'{name}.py' for name in (*inherited, *plan.variants)}
    plan.edited = []
    for name, path in paths.items():
        if plan.edited and path.is_file() and VARIANTS[name].changes is None:
            continue  # it was made of what was edited since, and may not even be Python
        if VARIANTS[name].changes is None:
            text = variant_text(name, paths['maskany'], path.parent)
        else:
            body = config if name == 'plain' else dict(_base_='./plain.py', **VARIANTS[name].changes(plan))
            text = f'# {VARIANTS[name].title}: {VARIANTS[name].what}.\n' + _python(body)
        if not path.is_file():
            atomic_write(path, (_HEADER.format(os.path.relpath(path)) + text).encode())
        elif not path.read_text(errors='replace').endswith(text):
            plan.edited.append(name)
    return {name: paths[name] for name in plan.variants}


def find_odd(plan: Plan) -> list[str]:
    """Look at the data with the checks that come before every training, as ``tools/misc/check_data.py`` does.

    Args:
        plan (Plan): The plan. Nothing is written into its folder.

    Returns:
        list[str]: What is odd, a sentence each.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If a training would be wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = dataclasses.replace(plan, out=Path(folder))
        _write_lists(plan.data, trial.out / 'data')
        surveys = check_data(Config(build(trial)), ('train', 'val'))
        # A json of the person's is called by its own name, and a list that was made here by where it will lie.
        called = {str(trial.out / 'data' / f'{name}.json'): str(own.source) for name, own in plan.data.splits.items()}
        called[str(trial.out)] = str(plan.out)
    texts: dict[str, list[str]] = {'error': [], 'warning': [], 'note': []}
    kinds = []
    for finding in (finding for survey in surveys for finding in survey.findings):
        text = finding.text
        for path, name in called.items():
            text = text.replace(path, name)
        texts[finding.level].append(text)
        kinds += [finding.kind] if finding.level == 'error' else []
    if kinds:
        more = f' ({many(len(kinds) - 1, "more error")})' if len(kinds) > 1 else ''
        raise kinds[0](texts['error'][0] + more)
    # Where the splits were made here, each has files of its folder that it does not name.
    odd = texts['warning'] + ([] if plan.data.was_split else texts['note'])
    return [f'{text[0].upper()}{text[1:].rstrip(".")}.' for text in dict.fromkeys(odd)]


def _python(body: dict) -> str:
    """Write a config as Python, in the way of OpenMMLab."""
    return ''.join(f'\n{key} = {_value(value, len(key) + 3)}\n' for key, value in body.items())


def _value(value: object, used: int, indent: int = 0) -> str:
    """Write a value: on one line where it fits, else each part on its own."""
    if isinstance(value, dict) and all(isinstance(key, str) and key.isidentifier() for key in value):
        marks = 'dict(', ')'
        names = [f'{key}=' for key in value]
    elif isinstance(value, dict):
        marks = '{', '}'
        names = [f'{key!r}: ' for key in value]
    elif isinstance(value, (list, tuple)) and value:
        marks = '[]' if isinstance(value, list) else ('(', ',)' if len(value) == 1 else ')')
        names = [''] * len(value)
    else:
        return repr(value)
    inside = list(value.values()) if isinstance(value, dict) else list(value)
    line = ', '.join(f'{name}{_value(part, 0, -1)}' for name, part in zip(names, inside, strict=True))
    line = f'{marks[0]}{line}{marks[1]}'
    if indent < 0 or used + len(line) <= _WIDTH:
        return line
    deeper = ' ' * (indent + 4)
    parts = [
        f'{deeper}{name}{_value(part, indent + 5 + len(name), indent + 4)},\n'
        for name, part in zip(names, inside, strict=True)
    ]
    return f'{marks[0]}\n{"".join(parts)}{" " * indent}{marks[1][-1]}'


def _write_lists(data: Data, folder: Path) -> None:
    """Write which images each split has; a json where the split was made here."""
    for name, split in data.splits.items():
        if data.task == 'classification':
            lines = [f'{_relative(sample.image, data)} {sample.label}\n' for sample in split.samples]
            atomic_write(folder / f'{name}.txt', ''.join(lines).encode())
        elif data.task == 'segmentation':
            lines = [f'{os.path.relpath(sample.image, split.root).rpartition(".")[0]}\n' for sample in split.samples]
            atomic_write(folder / f'{name}.txt', ''.join(lines).encode())
        else:
            atomic_write(folder / f'{name}.json', json.dumps(split.content).encode())


def _relative(path: Path, data: Data) -> str:
    root = data.path if data.path.is_dir() else data.splits['train'].root
    return os.path.relpath(path, root)


def build(plan: Plan) -> dict:
    """Build the config of the plain network.

    Args:
        plan (Plan): The plan; its backbone and pipeline are filled in.

    Returns:
        dict: The config.
    """
    backbone = dict(plan.network.backbone)
    if plan.network.start is not None:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=str(plan.out / 'weights.pth'))
    plan.backbone = backbone
    task = dict(classification=_classification, detection=_detection, segmentation=_segmentation)[plan.data.task](plan)
    plan.train_pipeline = task['train_dataloader']['dataset']['pipeline']
    common = dict(
        default_scope=task.pop('default_scope'),
        custom_imports=dict(imports=['mmmaskany.models', 'mmpretrain.models'], allow_failed_imports=False),
    )
    hooks = dict(custom_hooks=plan.hooks) if plan.hooks else {}
    return {**common, **task, **_schedule(plan), **hooks}


def _schedule(plan: Plan) -> dict:
    """AdamW, a warm-up and a cosine; the last epoch is kept."""
    steps, epochs = plan.steps, plan.epochs
    total = steps * epochs
    warm = min(500, total // 10)
    head = 'head' if plan.data.task == 'classification' else 'decode_head'
    heads = [head] if plan.data.task != 'detection' else ['neck', 'rpn_head', 'roi_head']
    heads += ['neck'] if plan.data.task == 'segmentation' else []
    # The longest name that is found in a parameter's counts: a backbone may have a 'conv_head'.
    faster = {name: dict(lr_mult=HEAD_RATE) for name in heads} | {'backbone': dict(lr_mult=1.0)}
    more = dict(custom_keys=faster) if plan.network.start is not None else {}
    wrapper = dict(
        type='AmpOptimWrapper' if plan.amp else 'OptimWrapper',
        optimizer=dict(type='AdamW', lr=plan.rate, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, **more),
        clip_grad=dict(max_norm=5.0),
    )
    hooks = dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=max(1, min(50, steps // 4))),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
        non_finite=dict(type='mmmaskany.NonFiniteLossHook'),
        sampler_seed=dict(type='DistSamplerSeedHook'),
    )
    # mmengine takes no schedule of no steps.
    warm_up = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm)] if warm else []
    cosine = dict(type='CosineAnnealingLR', T_max=total - warm, by_epoch=False, begin=warm, end=total)
    return dict(
        optim_wrapper=wrapper,
        param_scheduler=[*warm_up, cosine],
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=max(1, epochs // 10)),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        default_hooks=hooks,
        env_cfg=dict(
            cudnn_benchmark=plan.data.task != 'detection',
            mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
            dist_cfg=dict(backend='nccl'),
        ),
        randomness=dict(seed=0, deterministic=False),
        log_level='INFO',
        load_from=None,
        resume=False,
    )


def _loaders(plan: Plan, train: dict, val: dict, **more: dict) -> dict:
    """Data loaders of the dataset's configs; one worker beside each training process."""
    workers = min(4, max(1, available_cores() // 2))
    common = dict(num_workers=workers, persistent_workers=True, **more)
    test = dict(
        common,
        batch_size=plan.batch if plan.data.task == 'classification' else 1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=val,
    )
    loader = dict(common, batch_size=plan.batch, sampler=dict(type='DefaultSampler', shuffle=True), dataset=train)
    if plan.drops_last:
        loader['drop_last'] = True
    return dict(train_dataloader=loader, val_dataloader=test, test_dataloader=test)


# ---------------------------------------------------------------------- classification


def _classification(plan: Plan) -> dict:
    data, network, size = plan.data, plan.network, plan.size
    resize = dict(interpolation=network.interpolation)
    if network.interpolation == 'bicubic':
        resize['backend'] = 'pillow'  # the only one that smooths what it makes smaller, as in timm
    train = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.4, 1.0), **resize),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs'),
    ]
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=round(size / network.crop), edge='short', **resize),
        dict(type='CenterCrop', crop_size=size),
        dict(type='PackInputs'),
    ]

    root = data.path if data.path.is_dir() else data.splits['train'].root

    def dataset(name: str, pipeline: list[dict]) -> dict:
        return dict(
            type='CustomDataset',
            data_prefix=str(root),
            ann_file=str(plan.out / 'data' / f'{name}.txt'),
            metainfo=dict(classes=list(data.classes)),
            pipeline=pipeline,
        )

    classes = len(data.classes)
    head = dict(network.head or dict(type='LinearClsHead', in_channels=network.channels[-1]))
    head.pop('init_cfg', None)
    head.update(num_classes=classes, topk=(1,))
    head['loss'] = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    pixels = dict(num_classes=classes, **network.normalisation)
    model = dict(type='ImageClassifier', data_preprocessor=pixels, backbone=plan.backbone, neck=network.neck, head=head)
    loaders = _loaders(plan, dataset('train', train), dataset('val', test), collate_fn=dict(type='default_collate'))
    evaluator = dict(type='Accuracy', topk=(1,))
    return dict(default_scope='mmpretrain', model=model, **loaders, val_evaluator=evaluator, test_evaluator=evaluator)


# ---------------------------------------------------------------------- detection


def _detection(plan: Plan) -> dict:
    data, size, width = plan.data, plan.size, plan.width
    height = max(32, round(size * min(data.size) / max(data.size) / 32) * 32)
    labels = dict(type='LoadAnnotations', with_bbox=True, with_mask=data.masks)
    scales = [(round(size * factor), round(height * factor)) for factor in (0.8, 0.9, 1.0, 1.1, 1.2)]
    train = [
        dict(type='LoadImageFromFile'),
        labels,
        dict(type='RandomChoiceResize', scales=scales, keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(size, height), keep_ratio=True),
        labels,
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]

    def dataset(name: str, pipeline: list[dict], **more: object) -> dict:
        return dict(
            type='CocoDataset',
            metainfo=dict(classes=list(data.classes)),
            ann_file=str(plan.out / 'data' / f'{name}.json'),
            data_prefix=dict(img=f'{data.splits[name].root}{os.sep}'),
            pipeline=pipeline,
            **more,
        )

    loaders = _loaders(
        plan,
        dataset('train', train, filter_cfg=dict(filter_empty_gt=True)),
        dataset('val', test, test_mode=True),
    )
    loaders['train_dataloader']['batch_sampler'] = dict(type='AspectRatioBatchSampler')
    evaluator = dict(
        type='CocoMetric',
        ann_file=str(plan.out / 'data' / 'val.json'),
        metric=['bbox', 'segm'] if data.masks else ['bbox'],
    )
    return dict(
        default_scope='mmdet',
        model=_detector(plan, width),
        **loaders,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
    )


def _detector(plan: Plan, width: int) -> dict:
    """Faster R-CNN, or Mask R-CNN, as mmdet has them, in the width of the network."""
    data, network = plan.data, plan.network
    model = _library_model('mmdet', 'mask-rcnn_r50_fpn' if data.masks else 'faster-rcnn_r50_fpn')
    strides = [*network.strides, 2 * network.strides[-1]]
    levels = network.strides
    classes = len(data.classes)
    finest = round(plan.anchor_scale * levels[0] * 1.75)  # as 56 px where the smallest anchors have 32
    model['data_preprocessor'].update(
        mean=list(network.normalisation['mean']),
        std=list(network.normalisation['std']),
        bgr_to_rgb=network.normalisation['to_rgb'],
    )
    model['backbone'] = plan.backbone
    model['neck'].update(in_channels=list(network.channels), out_channels=width, num_outs=len(strides))
    model['rpn_head'].update(in_channels=width, feat_channels=width)
    model['rpn_head']['anchor_generator'].update(
        scales=[plan.anchor_scale], ratios=list(plan.anchor_ratios), strides=strides
    )
    roi = model['roi_head']
    roi['bbox_roi_extractor'].update(out_channels=width, featmap_strides=levels, finest_scale=finest)
    roi['bbox_head'].update(in_channels=width, fc_out_channels=4 * width, num_classes=classes)
    if data.masks:
        roi['mask_roi_extractor'].update(out_channels=width, featmap_strides=levels, finest_scale=finest)
        roi['mask_head'].update(in_channels=width, conv_out_channels=width, num_classes=classes)
    if width < 256:  # small networks are for small machines
        model['train_cfg']['rpn_proposal'].update(nms_pre=500, max_per_img=200)
        model['train_cfg']['rcnn']['sampler'].update(num=128)
        model['test_cfg']['rpn'].update(nms_pre=500, max_per_img=200)
    return model


def _library_model(library: str, name: str) -> dict:
    """Read a model of a library's `_base_` configs as plain dicts."""
    path = Path(get_installed_path(library), '.mim', 'configs', '_base_', 'models', f'{name}.py')
    return Config.fromfile(path).model.to_dict()


# ---------------------------------------------------------------------- segmentation


def _segmentation(plan: Plan) -> dict:
    data, network, size, width = plan.data, plan.network, plan.size, plan.width
    reduce = data.zero == 'unlabelled'
    labels = dict(type='LoadAnnotations', reduce_zero_label=reduce)
    scale = (4 * size, size)
    train = [
        dict(type='LoadImageFromFile'),
        labels,
        dict(type='RandomResize', scale=scale, ratio_range=(0.75, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(size, size), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=scale, keep_ratio=True),
        labels,  # after the resizing: the prediction is compared at the size of the original
        dict(type='PackSegInputs'),
    ]

    def dataset(name: str, pipeline: list[dict]) -> dict:
        split = data.splits[name]
        return dict(
            type='BaseSegDataset',
            metainfo=dict(classes=list(data.classes)),
            ann_file=str(plan.out / 'data' / f'{name}.txt'),
            data_prefix=dict(img_path=str(split.root), seg_map_path=str(split.samples[0].labels.parent)),
            img_suffix=split.samples[0].image.suffix,
            seg_map_suffix=split.samples[0].labels.suffix,
            reduce_zero_label=reduce,
            pipeline=pipeline,
        )

    model = _library_model('mmseg', 'fpn_r50')
    model['data_preprocessor'].update(
        mean=list(network.normalisation['mean']),
        std=list(network.normalisation['std']),
        bgr_to_rgb=network.normalisation['to_rgb'],
        size=(size, size),
    )
    levels = len(network.channels)
    model.update(pretrained=None, backbone=plan.backbone)
    model['neck'].update(in_channels=list(network.channels), out_channels=width, num_outs=levels)
    model['decode_head'].update(
        in_channels=[width] * levels,
        in_index=list(range(levels)),
        feature_strides=list(network.strides),
        channels=width,
        num_classes=len(data.classes),
        norm_cfg=dict(type='BN', requires_grad=True),
    )
    loaders = _loaders(plan, dataset('train', train), dataset('val', test))
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    return dict(default_scope='mmseg', model=model, **loaders, val_evaluator=evaluator, test_evaluator=evaluator)
