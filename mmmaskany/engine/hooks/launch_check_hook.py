# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import logging
import re
from collections.abc import Iterator

from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmmaskany.checkpoints.format import EXTRA_STATE
from mmmaskany.checkpoints.late_fusion import name_late_fusion
from mmmaskany.checkpoints.mismatch import CheckpointMismatchError
from mmmaskany.checkpoints.normalisation import OWN_CONFIG, Normalisation, find_normalisation, normalisation_of
from mmmaskany.checkpoints.reading import Weights, place, silence, unpack
from mmmaskany.checkpoints.starting import hold_to_files, pretrained_cfgs, read_start
from mmmaskany.engine.checks.batches import (
    check_datasets,
    check_labels,
    check_lone_image,
    check_metrics,
    check_sizes,
    check_steps,
)
from mmmaskany.engine.checks.class_names import compare, names_in, names_of
from mmmaskany.engine.checks.finding import Finding, settle
from mmmaskany.masking import ImageFill
from mmmaskany.registry import HOOKS

# Heads that predict the dataset's classes: not a region proposal head, nor a semantic branch with its own ones.
_HEAD = re.compile(r'(^|\.)(?!rpn_|semantic_)\w*head(\.\d+)?$')


@HOOKS.register_module()
class LaunchCheckHook(Hook):
    """Refuse, before anything is trained or tested, what could only give a meaningless result.

    Heads must have as many classes as the data, and a checkpoint must belong to the model: to test or to resume it
    must fill the model, to start from it at least a part. Where images are mixed, each needs a partner, and the head
    must take soft labels.
    """

    priority = 'VERY_HIGH'  # before other hooks load a checkpoint, too

    def before_run(self, runner: Runner) -> None:
        """Look for the neck of late fusion, and compare model, data and the checkpoint that a network starts from.

        Args:
            runner (Runner): The runner of the training or test process.
        """
        # It knows the models, which the engine does without.
        from ..checks.pipeline import check_augments, check_ignored, check_views

        check_late_fusion(runner.model)
        loops = {name: getattr(runner, f'_{name}_loop') for name in ('train', 'val', 'test')}
        loops = {name: loop for name, loop in loops.items() if isinstance(loop, BaseLoop)}
        settle(check_datasets({f'{name}_dataloader.dataset': loop.dataloader.dataset for name, loop in loops.items()}))
        for name, loop in loops.items():
            check_views(runner.model, loop.dataloader.dataset, f'{name}_dataloader')
            classes = (getattr(loop.dataloader.dataset, 'metainfo', None) or {}).get('classes')
            if classes is not None:
                check_class_count(runner.model, len(classes), f'the {name} data')
        if 'train' in loops:
            hold_to_files(runner.model)
            for module in runner.model.modules():
                for cfg in pretrained_cfgs(module)[0]:
                    if '://' not in cfg['checkpoint']:
                        report_normalisation(runner.model, read_start(cfg), runner.logger)
            check_partners(runner.model, loops['train'].dataloader)
            check_ignored(runner.model, loops['train'].dataloader.dataset, 'train_dataloader')
            check_augments(runner.model, loops['train'].dataloader.dataset)
            check_compiled(runner.model, runner.cfg.get('compile'))
            check_soft_labels(runner.model)
            check_mixed_classes(runner.model)
        for name, loop in loops.items():
            settle(self._check_loop(name, loop, runner.model))

    def _check_loop(self, name: str, loop: BaseLoop, model: nn.Module) -> Iterator[Finding]:
        key = f'{name}_dataloader'
        yield from check_steps(key, loop.dataloader)
        yield from check_sizes(key, model, loop.dataloader, name == 'train')
        if name == 'train':
            yield from check_labels(f'{key}.dataset', loop.dataloader.dataset, _count_classes(model))
            yield from check_lone_image(key, model, loop.dataloader)
        else:
            metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', [])  # the libraries' own loops may have none
            yield from check_metrics(f'{name}_evaluator', metrics, loop.dataloader.dataset, _count_classes(model))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the tensors of model and checkpoint, and the names of the classes.

        What a training starts from may be of any publisher.

        Args:
            runner (Runner): The runner of the training or test process.
            checkpoint (dict): What was loaded.
        """
        resumes, training = runner._resume, isinstance(runner._train_loop, BaseLoop)
        if not resumes:
            weights = unpack(checkpoint, str(runner._load_from), runner.cfg.get('load_from_container'))
            meta = checkpoint.get('meta', {})
            checkpoint.clear()  # what the Runner loads next
            checkpoint.update(meta=meta, state_dict=start_tensors(runner.model, weights, training))
            if training:
                report_normalisation(runner.model, weights, runner.logger)
        complete = resumes or not training
        if complete:
            path = runner._load_from
            known = find_normalisation(str(path), checkpoint) if resumes else weights.normalisation
            check_normalisation(runner.model, known, path)
        check_checkpoint(runner.model, checkpoint, runner._load_from, complete)
        loop = runner._train_loop if training else runner._test_loop
        if complete and isinstance(loop, BaseLoop):
            key = f'{"train" if training else "test"}_dataloader.dataset'
            known = [*names_in(checkpoint, runner._load_from), *names_of(loop.dataloader.dataset, key)]
            settle(compare(known))


def check_late_fusion(model: nn.Module) -> None:
    """Make sure that a backbone with ``fuse_at='neck'`` and the neck that fuses its levels come together.

    Args:
        model (nn.Module): The model.

    Raises:
        ValueError: If one of them is missing.
    """
    from mmmaskany.models import MaskAnyNeck
    from mmmaskany.models.backbones.levels import NEEDS_NECK

    necks = [type(module).__name__ for module in model.modules() if isinstance(module, MaskAnyNeck)]
    late = [type(module).__name__ for module in model.modules() if getattr(module, 'fuse_at', None) == 'neck']
    if late and not necks:
        raise ValueError(f'{late[0]} must be followed by mmmaskany.MaskAnyNeck, but the model has none: {NEEDS_NECK}')
    if necks and not late:
        raise ValueError(
            f"{necks[0]} fuses the levels of a MaskAny backbone with fuse_at='neck', but the model has none: give the "
            'backbone that option, or leave out the neck'
        )


def _batch_augments(model: nn.Module) -> list:
    """Return the batch augmentations of a classifier, in its data preprocessor."""
    while is_model_wrapper(model):
        model = model.module
    mixing = getattr(getattr(model, 'data_preprocessor', None), 'batch_augments', None)
    return list(getattr(mixing, 'augments', None) or [])


def check_partners(model: nn.Module, loader: DataLoader) -> None:
    """Make sure that each image has another one in its batch where it is filled from that.

    Args:
        model (nn.Module): The model.
        loader (DataLoader): The data loader of the training.

    Raises:
        ValueError: If batches hold one image, or the last one of an epoch does and could not be filled.
    """
    fills = [type(module).__name__ for module in model.modules() if isinstance(module, ImageFill)]
    mixes = [
        type(augment).__name__
        for augment in _batch_augments(model)
        if isinstance(getattr(augment, 'partner', None), ImageFill)
    ]
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    if (fills or mixes) and size == 1:
        raise ValueError(
            f'{(fills or mixes)[0]} fills each image from another one of its batch, so train_dataloader.batch_size '
            'must be at least 2 in each process, but got 1'
        )
    # MaskMix passes a last batch of one as it is.
    if fills and loader.batch_size and not loader.drop_last and not isinstance(loader.sampler, InfiniteSampler):
        images = len(loader.sampler)
        if images % size == 1:
            raise ValueError(
                f'{fills[0]} fills each image from another one of its batch, but of {images} images in batches of '
                f'{size} the last one has none: take train_dataloader.drop_last=True'
            )


def check_soft_labels(model: nn.Module) -> None:
    """Make sure that the head of a classifier takes soft labels where batch augmentations mix them.

    Args:
        model (nn.Module): The model.

    Raises:
        ValueError: If it needs hard ones, for its loss or to calculate the accuracy in training.
    """
    augments = ' and '.join(type(augment).__name__ for augment in _batch_augments(model))
    for name, module in model.named_modules():
        if not augments and type(module).__name__ == 'BinaryTargetLoss':
            raise ValueError(
                f'{name}: BinaryTargetLoss makes soft labels binary, but nothing in train_cfg mixes labels: add '
                "augments such as dict(type='Mixup', alpha=0.8), or take CrossEntropyLoss with use_sigmoid=True"
            )
        if not augments or not _HEAD.search(name):
            continue
        loss = type(getattr(module, 'loss_module', None)).__name__
        what = 'cal_acc=True' if getattr(module, 'cal_acc', False) else loss if loss == 'SeesawLoss' else None
        if what:
            raise ValueError(
                f'{what} of {type(module).__name__} needs hard labels, but {augments} of train_cfg makes soft ones: '
                + ('take cal_acc=False' if 'cal_acc' in what else 'take CrossEntropyLoss or LabelSmoothLoss')
            )


def check_mixed_classes(model: nn.Module) -> None:
    """Make sure that the labels that batch augmentations mix count as many classes as the head of a classifier.

    Args:
        model (nn.Module): The model.

    Raises:
        ValueError: If they do not.
    """
    while is_model_wrapper(model):
        model = model.module
    preprocessor, classes = getattr(model, 'data_preprocessor', None), _count_classes(model)
    given = getattr(preprocessor, 'num_classes', None)
    if getattr(preprocessor, 'to_onehot', False) and classes and given != classes:
        raise ValueError(
            f'data_preprocessor.num_classes must be {classes}, as the head predicts, to mix labels, but got {given}'
        )


def _count_classes(model: nn.Module) -> int | None:
    """Return how many classes the head of a classifier predicts, None where there is none or several."""
    counts = {
        module.num_classes
        for name, module in model.named_modules()
        if _HEAD.search(name) and isinstance(getattr(module, 'num_classes', None), int)
    }
    return counts.pop() if len(counts) == 1 else None


def report_normalisation(model: nn.Module, weights: Weights, logger: logging.Logger) -> None:
    """Warn where a model prepares its images otherwise than its weights want, as far as their source says it.

    Args:
        model (nn.Module): The model, with its data preprocessor.
        weights (Weights): What it starts from.
        logger (logging.Logger): What the warning is written to.
    """
    while is_model_wrapper(model):
        model = model.module
    preprocessor = getattr(model, 'data_preprocessor', None)
    if weights.normalisation is None or preprocessor is None:
        return
    if difference := weights.normalisation.differs_from(normalisation_of(preprocessor)):
        logger.warning(
            f'{weights.path} wants images otherwise than data_preprocessor makes them, so that its features are not '
            f'what they were: {difference} ({weights.normalisation.source})'
        )


def check_normalisation(model: nn.Module, normalisation: Normalisation | None, path: str) -> None:
    """Make sure that a trained network gets images as in its training, where the config in its file says how.

    Args:
        model (nn.Module): The model, with its data preprocessor.
        normalisation (Normalisation | None): How the images of its training were prepared.
        path (str): What to call the checkpoint in the error.

    Raises:
        ValueError: If the data preprocessor makes them otherwise. The message says what to set.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    preprocessor = getattr(model, 'data_preprocessor', None)
    if normalisation is None or normalisation.source != OWN_CONFIG or preprocessor is None:
        return
    if difference := normalisation.differs_from(normalisation_of(preprocessor)):
        raise ValueError(
            f'data_preprocessor must make the images that {path} was trained on, but makes {difference}, so that it '
            f'would compute something else. Its config has mean={list(normalisation.mean)}, '
            f'std={list(normalisation.std)} and {"RGB" if normalisation.to_rgb else "BGR"} channels: set these there'
        )


def check_compiled(model: nn.Module, options: bool | dict | None) -> None:
    """Make sure that a model whose layers are masked in training is not compiled.

    Args:
        model (nn.Module): The model.
        options (bool | dict | None): ``compile`` of the config, as the Runner reads it.

    Raises:
        ValueError: If it would be compiled.
    """
    from mmmaskany.models import HideFromLayers

    off = options is None or options is False or (isinstance(options, dict) and options.get('disable'))
    if not off and any(isinstance(module, HideFromLayers) for module in model.modules()):
        raise ValueError(
            'HideFromLayers masks what torch calculates in each layer, which a compiled network does not show, but got '
            f'compile={options}: take compile=False'
        )


def check_class_count(model: nn.Module, count: int, source: str) -> None:
    """Make sure that all classification, box, mask and segmentation heads of a model predict ``count`` classes.

    Args:
        model (nn.Module): The model.
        count (int): Number of classes in the data.
        source (str): What to call the data in the error.

    Raises:
        ValueError: If a head predicts another number. The message names the head and both numbers.
    """
    for name, module in model.named_modules():
        classes = getattr(module, 'num_classes', None)
        if _HEAD.search(name) and isinstance(classes, int) and classes != count:
            raise ValueError(
                f'{name}.num_classes must be {count}, the number of classes in {source}, but got {classes}'
            )


def start_tensors(model: nn.Module, weights: Weights, complete: bool = True) -> dict:
    """Return weights under the names of a model, where it has a backbone that they fill.

    Args:
        model (nn.Module): The model.
        weights (Weights): The weights of a file.
        complete (bool): Whether they must fill the backbone; else what does not is returned as it is, for
            :func:`check_checkpoint` to say what is wrong. Defaults to True.

    Returns:
        dict: The tensors by the model's names; as they are for a model without a backbone.

    Raises:
        CheckpointMismatchError: If they do not fill the backbone.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        return weights.tensors
    try:
        return place(weights, model)
    except CheckpointMismatchError:
        if complete:
            raise
        return weights.tensors


def check_checkpoint(model: nn.Module, checkpoint: dict, path: str, complete: bool) -> None:
    """Make sure that a checkpoint belongs to a model, by loading it.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): A state dict, or a dict with ``'state_dict'``.
        path (str): What to call the checkpoint in the error.
        complete (bool): Whether it must be of this very network: fill all of it, and hold nothing that has no place in
            its parts, as the second stem has none in a plain network. Parts that the model does not have, such as an
            auxiliary head, are left aside. Else one tensor is enough.

    Raises:
        ValueError: If it does not. The message names the checkpoint and what does not fit.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    tensors = checkpoint.get('state_dict', checkpoint)
    tensors = {re.sub(r'^module\.', '', str(name)): tensor for name, tensor in tensors.items()}
    tensors = name_late_fusion(model, tensors)
    wanted = {name for name in model.state_dict() if not name.endswith(('num_batches_tracked', EXTRA_STATE))}
    try:
        with silence():  # the Runner loads it once more
            loaded = model.load_state_dict(tensors, strict=False)
        missing = sorted(wanted.intersection(loaded.missing_keys))
        parts = dict(model.named_children())
        unexpected = [name for name in loaded.unexpected_keys if name.partition('.')[0] in parts and complete]
        unexpected = [name for name in unexpected if not name.endswith(EXTRA_STATE)]
        fits = not (missing or unexpected) if complete else len(missing) < len(wanted)
        problem = f'{len(missing)} of {len(wanted)} are missing: {", ".join(missing[:3])}'
        if unexpected and not missing:
            some = ', '.join(unexpected[:3])
            problem = (
                f'{len(unexpected)} of its tensors have no place there ({some}): give the config it was trained with'
            )
    except RuntimeError as error:  # some tensors have another shape, as those of a new head may have
        fits, problem = not complete, str(error)
    except ValueError as error:
        fits, problem = False, str(error)
    if not fits:
        raise ValueError(f'checkpoint {path} must hold the tensors of this {type(model).__name__}, but {problem}')
