# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Grad-CAM of classifiers, detectors and segmentors: where in an image a model finds what it says.

The models of mmpretrain, mmdet and mmseg are brought into the one form that the grad-cam library takes, and the
features of any backbone, maps or tokens, into maps. Source: Grad-CAM, arXiv 1610.02391.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmmaskany.models.backbones.levels import as_map, extra_tokens

#: The methods by what users call them, and their classes in the library.
METHODS = {
    'gradcam': 'GradCAM',
    'gradcam++': 'GradCAMPlusPlus',
    'hirescam': 'HiResCAM',
    'layercam': 'LayerCAM',
    'xgradcam': 'XGradCAM',
    'eigengradcam': 'EigenGradCAM',
}


def cam_class(method: str) -> type:
    """Find a method in the grad-cam library.

    Args:
        method (str): One of :data:`METHODS`.

    Returns:
        type: The class.

    Raises:
        ImportError: If the library is not installed; the message names the extra that brings it.
        ValueError: If the method is not known.
    """
    if method not in METHODS:
        raise ValueError(f'method must be one of {list(METHODS)}, but got {method!r}')
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise ImportError(
            f"Grad-CAM needs the grad-cam library ({error}), which the extra 'vis' brings: pip install "
            "'mmmaskany[vis]', or, beside an OpenCV that shall stay, pip install --no-deps grad-cam ttach"
        ) from error
    return getattr(pytorch_grad_cam, METHODS[method])


@dataclass
class Explanation:
    """What a model says of an image, and where it finds it.

    Args:
        cam (np.ndarray): The map, ``(H, W)`` of the image as the model sees it, in [0, 1]; all 0 where it says nothing.
        label (int | None): The class that was explained; None where a detector's every class was.
        score (float | None): Its probability (classification), mean probability within the region (segmentation), or
            the highest of the scores that were explained (detection); None where there is none.
        predicted (int | None): The class that the model predicts, of classification.
        boxes (np.ndarray): The detections that were explained, ``(N, 4)`` as x1, y1, x2, y2.
        region (np.ndarray | None): The pixels whose class was explained, bool ``(H, W)``, of segmentation.
    """

    cam: np.ndarray
    label: int | None
    score: float | None
    predicted: int | None
    boxes: np.ndarray
    region: np.ndarray | None


class Outputs(nn.Module):
    """A model of mmpretrain, mmdet or mmseg, whose forward returns one output per image that can be differentiated.

    That is the logits ``(classes,)``, the map of logits ``(classes, h, w)``, or the detections with their scores.

    Args:
        model (nn.Module): A classifier of mmpretrain, a detector of mmdet or a segmentor of mmseg.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.samples: list[BaseDataElement] = []
        if hasattr(model, 'encode_decode'):
            self.task = 'segmentation'
        elif hasattr(model, 'bbox_head') or hasattr(model, 'roi_head'):
            self.task = 'detection'
        elif getattr(model, 'with_head', False) and hasattr(model, 'extract_feat'):
            self.task = 'classification'
        else:
            raise ValueError(
                f'the model must be a classifier, a detector or a segmentor, but got {type(model).__name__}, which '
                'predicts no class'
            )

    def forward(self, images: Tensor) -> Sequence:
        if self.task == 'segmentation':
            return self.model.encode_decode(images, [sample.metainfo for sample in self.samples])
        if self.task == 'detection':
            with _scores_with_gradients():
                found = self.model.predict(images, self.samples, rescale=False)
            return [sample.pred_instances for sample in found]
        return self.model(images, mode='tensor')


@contextlib.contextmanager
def _scores_with_gradients() -> Iterator[None]:
    """Let mmdet's one-stage detectors not cut their scores off from the features, as they do to save memory."""
    from mmdet.models.dense_heads import base_dense_head as module

    select = module.select_single_mlvl
    module.select_single_mlvl = lambda levels, batch_id, detach=True: select(levels, batch_id, detach=False)
    try:
        yield
    finally:
        module.select_single_mlvl = select


def default_layer(model: nn.Module, run: Callable[[], object]) -> str:
    """Choose the layer whose features are looked at: the last module of the backbone that returns a map or tokens.

    Where a class token is all that goes on to the head, the last patch tokens have no say in it: there it is the norm
    before the last attention.

    Args:
        model (nn.Module): The model, with a ``backbone``.
        run (Callable): Runs the model once.

    Returns:
        str: Name of the layer in the model.

    Raises:
        ValueError: If no module of the backbone returns such.
    """
    seen, handles = [], []

    def note(name: str) -> Callable[[nn.Module, tuple, object], None]:
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            is_map = isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1
            if is_map or (isinstance(output, Tensor) and output.ndim == 3 and output.shape[1] > 1):
                seen.append(name)

        return hook

    for name, module in model.backbone.named_modules():
        if name:
            handles.append(module.register_forward_hook(note(name)))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    if extra_tokens(model.backbone):
        norms = [name for name in seen if '.' in name and name.rpartition('.')[2] in ('ln1', 'norm1')]
        seen = norms or seen
    if not seen:
        raise ValueError(f'no layer of {type(model.backbone).__name__} returns a map: name another one as layer')
    return f'backbone.{seen[-1]}'


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a layer by its name.

    Raises:
        ValueError: If there is none; the message names some of those that are spelled alike.
    """
    layers = dict(model.named_modules())
    if name in layers and name:
        return layers[name]
    folder = name.rpartition('.')[0]
    while folder and folder not in layers:
        folder = folder.rpartition('.')[0]
    children = [child for child, _ in layers[folder].named_children()]
    raise ValueError(f'layer must name a module of the model, but got {name!r}; {folder or "the model"} has {children}')


class Explainer:
    """Explains what a model says of images.

    Args:
        model (nn.Module): The model, built and loaded; all of its parameters are made to have gradients.
        layer (str, optional): Name of the layer whose features are looked at. Defaults to None, see
            :func:`default_layer`.
        method (str): One of :data:`METHODS`. Defaults to 'gradcam'.
        score (float): Detections below it do not count, unless there is no other. Defaults to 0.3.

    Raises:
        ImportError: If the grad-cam library is missing.
        ValueError: If the model predicts no class, or method or layer are not known.
    """

    def __init__(self, model: nn.Module, layer: str | None = None, method: str = 'gradcam', score: float = 0.3) -> None:
        self.cam = cam_class(method)
        self.outputs = Outputs(model)
        self.model = model
        self.layer = layer
        self.score = score
        if layer is not None:
            find_layer(model, layer)
        model.eval()
        model.requires_grad_(True)  # a frozen stem has no gradients

    @property
    def task(self) -> str:
        """'classification', 'detection' or 'segmentation'."""
        return self.outputs.task

    def __call__(self, images: Tensor, sample: BaseDataElement, target: str | int = 'gt') -> Explanation:
        """Explain one image.

        Args:
            images (Tensor): It, normalised, as a batch of one ``(1, C, H, W)``.
            sample (BaseDataElement): Its data sample.
            target (str | int): The class to explain: 'gt' for the one it has by its annotation ('pred' where it has
                none), 'pred' for the one that is predicted, or its index. Of a detector all classes are explained
                unless it is an index. Of a segmentor the first two mean the class that covers most of the image, the
                one named background left out. Defaults to 'gt'.

        Returns:
            Explanation: What was found.

        Raises:
            ValueError: If the layer gives no map, has no say in the output, or there is no such class.
        """
        self.outputs.samples = [sample]
        if self.layer is None:
            self.layer = default_layer(self.model, lambda: self.outputs(images))
        size = tuple(images.shape[-2:])
        said: dict = {}

        def score(output: object) -> Tensor:
            said.update(getattr(self, f'_{self.task}')(output, sample, target))
            return said.pop('explained')

        extra = extra_tokens(self.model.backbone)
        layer = find_layer(self.model, self.layer)
        cam = self.cam(self.outputs, [layer], lambda features: as_map(_tensor(features), size, extra))
        try:
            with torch.enable_grad():
                heat = cam(images, [score])[0]
        except _Nothing:
            heat = np.zeros(size, np.float32)
        except (IndexError, TypeError, AttributeError) as error:
            if cam.activations_and_grads.gradients:
                raise
            raise ValueError(f'the layer {self.layer} must have a say in what is predicted, but has none') from error
        finally:
            cam.activations_and_grads.release()
        return Explanation(cam=np.nan_to_num(heat), **{**_EMPTY, **said})

    # ------------------------------------------------------------------ what is explained, by task

    def _classification(self, logits: Tensor, sample: BaseDataElement, target: str | int) -> dict:
        predicted = int(logits.argmax())
        label = int(sample.gt_label[0]) if target == 'gt' and 'gt_label' in sample else predicted
        label = _index(target, len(logits)) if isinstance(target, int) else label
        probability = float(logits.softmax(-1)[label])
        return dict(explained=logits[label], label=label, score=probability, predicted=predicted)

    def _segmentation(self, logits: Tensor, sample: BaseDataElement, target: str | int) -> dict:
        classes = (getattr(self.model, 'dataset_meta', None) or {}).get('classes') or ()
        labels = logits.argmax(0)
        if target == 'gt' and 'gt_sem_seg' in sample:
            truth = sample.gt_sem_seg.data[0].to(labels.device)
            if truth.shape == labels.shape:
                labels = truth
        counts = torch.bincount(labels[labels < len(logits)].flatten(), minlength=len(logits))
        if 'background' in classes and int((counts > 0).sum()) > 1:
            counts[list(classes).index('background')] = 0
        label = _index(target, len(logits)) if isinstance(target, int) else int(counts.argmax())
        region = labels == label
        if not region.any():
            raise _Nothing
        probability = float(logits.softmax(0)[label][region].mean())
        return dict(explained=logits[label][region].mean(), label=label, score=probability, region=region.cpu().numpy())

    def _detection(self, found: BaseDataElement, sample: BaseDataElement, target: str | int) -> dict:
        label = target if isinstance(target, int) else None
        if label is not None:
            found = found[found.labels == label]
        if not len(found):
            raise _Nothing
        chosen = found[found.scores >= min(self.score, float(found.scores.max()))]
        boxes = chosen.bboxes.detach().cpu().numpy()
        return dict(explained=chosen.scores.sum(), label=label, score=float(chosen.scores.max()), boxes=boxes)


class _Nothing(Exception):
    """There is nothing to explain."""


_EMPTY = dict(label=None, score=None, predicted=None, boxes=np.zeros((0, 4)), region=None)


def _index(target: int, classes: int) -> int:
    if not 0 <= target < classes:
        raise ValueError(f'the class must be in 0..{classes - 1}, but got {target}')
    return target


def _tensor(features: object) -> Tensor:
    if not isinstance(features, Tensor):
        raise ValueError(
            f'the target layer must return a tensor, but got {type(features).__name__}: name one within it'
        )
    return features


def stem_features(model: nn.Module, run: Callable[[], object]) -> dict[str, Tensor]:
    """Keep what the two stems and the fusion of a backbone return.

    Args:
        model (nn.Module): The model, with a ``backbone`` that has a second stem.
        run (Callable): Runs the model once, on a batch of one.

    Returns:
        dict[str, Tensor]: The features ``(C, h, w)`` of the 'visible stem', 'reused stem' and 'fusion', in float32.

    Raises:
        ValueError: If the backbone has no second stem.
    """
    stem = getattr(model.backbone, 'dual_stem', None)
    if stem is None:
        raise ValueError(f'the backbone must have a second stem, but {type(model.backbone).__name__} has none')
    features: dict[str, Tensor] = {}
    parts = {'visible stem': stem.visible, 'reused stem': stem.reused, 'fusion': stem.fusion}

    def keep(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
            features[name] = output[0].detach().float().cpu()

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return features


def stem_maps(model: nn.Module, run: Callable[[], object]) -> dict[str, np.ndarray]:
    """Return the length of each feature vector of :func:`stem_features`, as maps ``(h, w)``."""
    return {name: torch.linalg.vector_norm(each, dim=0).numpy() for name, each in stem_features(model, run).items()}
