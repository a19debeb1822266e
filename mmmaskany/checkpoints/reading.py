# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The one reader of checkpoints as people have them.

:func:`read_weights` opens a file of any publisher and finds the tensors in it; :func:`place` gives them the names of a
module, or refuses them. Both are what ``init_cfg``, ``load_from``, the converters and the checks at launch go through.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from torch import Tensor, nn

from .fingerprints import known_networks
from .mismatch import REBUILT, CheckpointMismatchError, Mismatch, find_mismatch, new_norms
from .normalisation import Normalisation, find_normalisation
from .protection import read_checkpoint
from .published_names import NAMINGS

#: Where the weights of a file lie, the first one wins; behind the names may stand ``_state_dict`` and the like.
#: Averaged weights (``_AVERAGED``) come before these, as timm and the authors of the files have it. Of networks that
#: teach each other those come first that their authors evaluate: DINO's teacher, the one of MoCo and BYOL that was
#: trained, the target encoder of I-JEPA.
CONTAINERS = (
    'teacher', 'base_encoder', 'encoder_q', 'online_encoder', 'online_network', 'target_encoder',
    'state_dict', 'model', 'net', 'network', 'module', 'trunk', 'backbone', 'encoder', 'visual', 'weights', 'params',
    'state', 'student',
)  # fmt: skip
_AVERAGED = re.compile(r'(^|_)(ema|swa|averaged?)(_|$)')
_ENDS = re.compile(r'_(state_dict|state|weights|params)$')
#: What else lies in such files and holds tensors, but no network.
_OTHER = re.compile(r'optim|sched|scaler|rng|loss|criterion|meta$|message_hub|gradients|callbacks|loops', re.IGNORECASE)
#: Modules that PyTorch puts around others, by the names that they give them.
_AROUND = re.compile(r'(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.')


class Weights(NamedTuple):
    """The tensors of a network, as a file has them.

    Args:
        tensors (dict[str, Tensor]): By the file's names, without what DDP and ``torch.compile`` put before them.
        path (str): The file.
        container (str): Where in the file they lie, such as ``'model_ema'`` or ``'ema.module'``; '' is the file itself.
        wrapper (str): What was taken off the names, such as ``'module.'``, or ''.
        meta (dict): What else the file says: ``meta`` of OpenMMLab, else the plain values beside the weights.
        normalisation (Normalisation | None): How the images of its training were prepared, where that is known.
        others (tuple[str, ...]): Further containers of the file, which an option may name instead.
    """

    tensors: dict[str, Tensor]
    path: str
    container: str
    wrapper: str
    meta: dict
    normalisation: Normalisation | None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"'{self.container}' of {self.path}" if self.container else self.path
        taken = f", without '{self.wrapper}' before its names" if self.wrapper else ''
        return text + taken + (f' (it also has {", ".join(map(repr, self.others))})' if self.others else '')


def read_weights(path: str | os.PathLike, container: str | None = None) -> Weights:
    """Read the weights of a network, whatever they are packed into. Nothing in the file is executed.

    Args:
        path (str | os.PathLike): A local file of PyTorch or safetensors.
        container (str | None): Where in the file the weights lie, such as ``'state_dict'`` or ``'ema.module'``. None
            takes the first one of :data:`CONTAINERS`. Defaults to None.

    Returns:
        Weights: The tensors, and what is known of them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, holds no tensors, or does not have this container.
    """
    return unpack(read_checkpoint(path), os.path.expanduser(os.fspath(path)), container)


def unpack(checkpoint: Mapping, path: str = '', container: str | None = None) -> Weights:
    """Find the weights in what a file holds; see :func:`read_weights`.

    Args:
        checkpoint (Mapping): What the file holds.
        path (str): What to call it. Defaults to ''.
        container (str | None): Where the weights lie. Defaults to None.

    Returns:
        Weights: The tensors, and what is known of them.

    Raises:
        ValueError: If there are none, or not this container.
    """
    found = dict(_find(checkpoint))
    if container is not None:
        if container not in found:
            raise ValueError(
                f'container must be one of {_quoted(found)}, the ones with tensors in {path}, but got {container!r}'
            )
        taken = container
    else:
        taken = _choose(found, path, checkpoint)
    tensors, wrapper = _unwrap(found[taken])
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        meta = {key: value for key, value in checkpoint.items() if not isinstance(value, Mapping | Tensor)}
    others = tuple(name for name in found if name and name != taken and not name.startswith(f'{taken}.'))
    return Weights(tensors, path, taken, wrapper, meta, find_normalisation(path, checkpoint), others)


def _find(node: Mapping, name: str = '', depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield what holds tensors by their names, with its dotted place."""
    tensors = {key: _tensor(value) for key, value in node.items() if isinstance(key, str)}
    tensors = {key: each for key, each in tensors.items() if each is not None and key not in ('state_dict', 'model')}
    if tensors:
        yield name, tensors
    for key, child in node.items():
        if isinstance(key, str) and isinstance(child, Mapping) and depth < 5 and not _OTHER.search(key):
            yield from _find(child, f'{name}.{key}' if name else key, depth + 1)


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
        return torch.from_numpy(np.ascontiguousarray(value))
    return None


def _choose(found: Mapping[str, Mapping], path: str, checkpoint: Mapping) -> str:
    if not found:
        parts = (checkpoint, *checkpoint.values())
        optimizer = any(isinstance(part, Mapping) and 'param_groups' in part for part in parts)
        raise ValueError(
            f'checkpoint {path} must hold tensors by their names, but holds {list(checkpoint)[:5]}'
            + (', the state of an optimizer without its network: give the file with the weights' if optimizer else '')
        )
    nested = [name for name in found if name]
    ranks = {name: min(map(_rank_part, name.split('.'))) for name in nested}
    if isinstance(checkpoint.get('meta'), Mapping):  # MMEngine swaps them: averaged weights are in 'state_dict'
        ranks.pop('ema_state_dict', None)
    best = min(ranks.values(), default=_UNKNOWN)
    if best < _UNKNOWN:  # {'ema': {'decay': ..., 'module': ...}}: what has the most in it
        return max((name for name in ranks if ranks[name] == best), key=lambda name: len(found[name]))
    if '' in found or len(nested) == 1:
        largest = max(found, key=lambda name: len(found[name]))
        return largest if len(nested) < 2 else ''
    raise ValueError(
        f'checkpoint {path} must say where its weights lie, but holds tensors in {_quoted(nested)}: name one of them '
        'as the container'
    )


_UNKNOWN = len(CONTAINERS)


def _rank_part(part: str) -> int:
    """Rank a container by its name, the best first: -1 are averaged weights, ``_UNKNOWN`` is none that is known."""
    if _AVERAGED.search(part):
        return -1
    part = _ENDS.sub('', part)
    return CONTAINERS.index(part) if part in CONTAINERS else _UNKNOWN


def _quoted(names) -> str:
    return ', '.join(repr(name) for name in names)


def _unwrap(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Take off the names what DDP, FSDP, averaging and ``torch.compile`` put before them."""
    taken = []
    names = {name: _AROUND.sub('', name) for name in tensors}
    if any(name != new for name, new in names.items()):
        taken.append(next(match[0] for name in tensors if (match := _AROUND.search(name))))
    while True:
        inside = [new for new in names.values() if '.' in new]
        if not inside or not all(new.startswith('module.') for new in inside):
            break
        names = {name: new.removeprefix('module.') for name, new in names.items()}
        taken.append('module.')
    if len(set(names.values())) < len(names):  # both are there: the names are what they should be
        return dict(tensors), ''
    return {new: tensors[name] for name, new in names.items()}, ''.join(dict.fromkeys(taken))


# ---------------------------------------------------------------------- giving the tensors their names


class Fit(NamedTuple):
    """How weights fit a module.

    Args:
        tensors (dict[str, Tensor]): By the module's names.
        mismatch (Mismatch): What is missing and what is unexpected.
        prefix (str): What was taken off the file's names.
        source (str): Whose names they were; '' where they are the module's own.
        inside (str): Where in the module the network is that they fit, such as ``'timm_model.'``.
        rivals (tuple[str, ...]): What else could be taken off: the file holds several networks of this kind.
    """

    tensors: dict[str, Tensor]
    mismatch: Mismatch
    prefix: str
    source: str
    inside: str
    rivals: tuple[str, ...] = ()

    @property
    def badness(self) -> tuple[int, int]:
        """What orders fits, the best first."""
        return len(self.mismatch.missing) + len(self.mismatch.reshaped), len(self.mismatch.unexpected)


def place(
    weights: Weights | Mapping[str, Tensor], module: nn.Module, prefix: str | None = None, report: bool = True
) -> dict[str, Tensor]:
    """Give weights the names of a module.

    Every tensor of the network that will be used must be filled, with its shape. In a model that is its backbone: heads
    and necks may start anew.

    Args:
        weights (Weights | Mapping[str, Tensor]): The weights.
        module (nn.Module): A backbone, or a model that has one.
        prefix (str | None): What the names of the wanted tensors begin with in the file; None finds it out. Defaults
            to None.
        report (bool): Whether the log says what was taken, and what is left over. Defaults to True.

    Returns:
        dict[str, Tensor]: The tensors by the module's names, ready for ``module.load_state_dict(..., strict=False)``.

    Raises:
        CheckpointMismatchError: If they do not fill the backbone, or belong to another one.
        ValueError: If no name begins with the prefix, the file holds several networks that fit, or its weights are
            quantised or not finite.
    """
    weights = weights if isinstance(weights, Weights) else Weights(dict(weights), 'a dict', '', '', {}, None)
    start = f'{prefix.rstrip(".")}.' if prefix and prefix.rstrip('.') else ''
    tensors = {name.removeprefix(start): tensor for name, tensor in weights.tensors.items() if name.startswith(start)}
    if not tensors:
        raise ValueError(
            f"the tensors of checkpoint {weights.path} must begin with '{start}', but it has "
            f'{list(weights.tensors)[:3]}'
        )
    backbone = getattr(module, 'backbone', None)
    inner = backbone if isinstance(backbone, nn.Module) else module
    fit = find_fit(tensors, inner)
    _check_numbers(weights.path, fit.tensors, inner)
    if fit.mismatch:
        raise CheckpointMismatchError(_mismatch(weights, inner, fit))
    placed = {
        name: tensor for name, tensor in fit.tensors.items() if name.removeprefix(fit.inside) not in fit.mismatch.left
    }
    if inner is not module:
        placed = {f'backbone.{name}': tensor for name, tensor in placed.items()} | _rest(tensors, module, fit)
    if report:
        _report(weights, inner, fit)
    return placed


def _check_numbers(path: str, tensors: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse weights that are codes and not numbers, or no numbers at all."""
    own = module.state_dict()
    for name, tensor in tensors.items():
        if name not in own or not own[name].is_floating_point():
            continue
        if tensor.is_quantized or not tensor.is_floating_point() or tensor.element_size() < 2:
            kind = str(tensor.dtype).removeprefix('torch.')
            raise ValueError(
                f'the weights of checkpoint {path} must be floating-point numbers of 16 bits or more, but {name} is '
                f'{kind}: it is quantised; give the file from before that'
            )
        if not name.endswith(REBUILT) and not torch.isfinite(tensor).all():
            raise ValueError(
                f'the weights of checkpoint {path} must be finite, but {name} holds NaN or infinity: the training that '
                'wrote it diverged; give an earlier file'
            )


def find_fit(tensors: Mapping[str, Tensor], module: nn.Module) -> Fit:
    """Find the naming in which tensors fit a backbone best.

    Args:
        tensors (Mapping[str, Tensor]): By the file's names.
        module (nn.Module): The backbone, plain or with a second stem.

    Returns:
        Fit: The best one, whether it fits or not.

    Raises:
        ValueError: If several networks of the file fit equally well.
    """
    second = any('.reused.' in name for name in tensors)
    plain = contextlib.nullcontext if second else getattr(module, 'as_plain', contextlib.nullcontext)
    with plain(), silence():
        return _best(list(_fits(tensors, module)))


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep information out of the log while something is tried: by a filter, for loggers cache what is enabled."""
    logger = MMLogger.get_current_instance()

    def warnings_only(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    logger.addFilter(warnings_only)
    try:
        yield
    finally:
        logger.removeFilter(warnings_only)


@contextlib.contextmanager
def still() -> Iterator[None]:
    """Keep quiet what the libraries log and pycocotools prints."""
    with silence(), contextlib.redirect_stdout(io.StringIO()):
        yield


def _fits(tensors: Mapping[str, Tensor], module: nn.Module) -> Iterator[Fit]:
    for inside, core in _cores(module):
        host = core.state_dict()
        for source, anchor, rename in (('', None, lambda given, _: dict(given)), *_filters(core), *_namings()):
            starts = _starts(tensors, host) if anchor is None else _starts_at(tensors, anchor)
            for start in starts:
                given = {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}
                renamed = _reshape(_flatten(rename(given, host), core), host)
                ready = _as_loaded(core, renamed)
                # Fusions of levels are left to the backbone: where a file has none, or others, they start anew.
                mismatch = find_mismatch(core, ready, ['masking.', 'level_fusions.', *new_norms(core, ready)])
                mismatch = _without_cut(mismatch, core, renamed)
                yield Fit({inside + name: tensor for name, tensor in renamed.items()}, mismatch, start, source, inside)


def _best(fits: Sequence[Fit]) -> Fit:
    best = min(fits, key=lambda fit: fit.badness)
    rivals = [fit for fit in fits if not fit.mismatch and not best.mismatch and fit.source == best.source]
    if len({fit.prefix for fit in rivals}) > 1:
        ranked = sorted(rivals, key=lambda fit: _rank(fit.prefix))
        if _rank(ranked[0].prefix) == _rank(ranked[1].prefix) and ranked[0].prefix != ranked[1].prefix:
            raise ValueError(
                f'the checkpoint must hold one network that fits, but has several, below '
                f'{_quoted(dict.fromkeys(fit.prefix for fit in ranked))}: name one of them as the prefix'
            )
        others = dict.fromkeys(fit.prefix for fit in ranked if fit.prefix != ranked[0].prefix)
        best = ranked[0]._replace(rivals=tuple(others))
    return best


def _rank(prefix: str) -> int:
    return min(map(_rank_part, prefix.rstrip('.').split('.'))) if prefix else -2


def _cores(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module, and what it is only put around: timm's network in ``TIMMBackbone``."""
    inside = ''
    while True:
        yield inside, module
        children = [(name, child) for name, child in module.named_children() if child.state_dict()]
        if len(children) != 1 or module.state_dict().keys() != {
            f'{children[0][0]}.{k}' for k in children[0][1].state_dict()
        }:
            return
        inside, module = f'{inside}{children[0][0]}.', children[0][1]


def _starts(tensors: Iterable[str], host: Mapping[str, Tensor]) -> list[str]:
    """Return what names may begin with before the host's own: what most of the host's names are found behind."""
    counts = Counter()
    for name in tensors:
        parts = name.split('.')
        for begin in range(len(parts)):
            if '.'.join(parts[begin:]) in host:
                counts['.'.join(parts[:begin]) + '.' if begin else ''] += 1
    most = max(counts.values(), default=0)
    return [start for start, count in counts.items() if count >= 0.9 * most] or ['']


def _starts_at(tensors: Iterable[str], anchor: str) -> list[str]:
    return [name.removesuffix(anchor) for name in tensors if name == anchor or name.endswith(f'.{anchor}')]


def _namings() -> Iterator[tuple[str, str, Callable]]:
    for naming in NAMINGS:
        yield naming.source, naming.anchor, naming


def _reshape(tensors: dict[str, Tensor], host: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take away or add sides of length 1: a 1 x 1 convolution is a linear layer, a scale per channel has any.

    Buffers that the host computes anew go where they have another shape.
    """

    def sides(tensor: Tensor) -> list[int]:
        return [side for side in tensor.shape if side != 1]

    fitting = {}
    for name, tensor in tensors.items():
        if name in host and tensor.shape != host[name].shape:
            if name.endswith(REBUILT):
                continue
            if sides(tensor) == sides(host[name]):
                tensor = tensor.reshape(host[name].shape)
        fitting[name] = tensor
    return fitting


def _as_loaded(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what a module's own hooks make of tensors when they are loaded: they resize position embeddings."""
    tensors = dict(tensors)
    for name, child in module.named_modules():
        for hook in child._load_state_dict_pre_hooks.values():
            try:
                hook(tensors, f'{name}.' if name else '', {}, False, [], [], [])
            except Exception:
                continue
    return tensors


# ---------------------------------------------------------------------- timm


def _is_timm(module: nn.Module) -> bool:
    return type(module).__module__.startswith('timm.')


def _full_timm(core: nn.Module) -> nn.Module | None:
    """Build, without memory, the whole network that a timm network was cut from."""
    arch = (getattr(core, 'pretrained_cfg', None) or {}).get('architecture')
    if not arch:
        return None
    import timm

    with torch.device('meta'):
        return timm.create_model(arch)


def _filters(core: nn.Module) -> Iterator[tuple[str, None, Callable]]:
    """Yield timm's own function for files of the publishers, and of its own networks of other sizes."""
    if not _is_timm(core):
        return
    network = _full_timm(core) if type(core).__name__ in _PYRAMIDS else core
    convert = getattr(sys.modules.get(type(network).__module__), 'checkpoint_filter_fn', None)
    if convert is None:
        return

    def rename(tensors: Mapping[str, Tensor], host: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            return dict(convert(dict(tensors), network))
        except Exception:
            return dict(tensors)

    yield 'what timm converts', None, rename


#: How timm's networks for pyramids are called: they are rebuilt of the modules of another network.
_PYRAMIDS = (
    'FeatureListNet',
    'FeatureDictNet',
    'FeatureHookNet',
    'FeatureGetterNet',
    'EfficientNetFeatures',
    'MobileNetV3Features',
)


def _flatten(tensors: dict[str, Tensor], core: nn.Module) -> dict[str, Tensor]:
    """Rename what timm's pyramids flatten: ``stages.0.`` becomes ``stages_0.``."""
    if not _is_timm(core):
        return tensors
    children = {name for name, _ in core.named_children()}

    def flat(name: str) -> str:
        first, _, rest = name.partition('.')
        joined = f'{first}_{rest.partition(".")[0]}'
        return name if first in children or joined not in children else f'{first}_{rest}'

    return {flat(name): tensor for name, tensor in tensors.items()}


def _without_cut(mismatch: Mismatch, core: nn.Module, tensors: Mapping[str, Tensor]) -> Mismatch:
    """Leave aside what has no place because a timm pyramid ends before the last block of its network."""
    if not mismatch.unexpected or not _is_timm(core) or (full := _full_timm(core)) is None:
        return mismatch
    known = full.state_dict()
    cut = [name for name in mismatch.unexpected if name in known and known[name].shape == tensors[name].shape]
    return mismatch._replace(
        unexpected=[name for name in mismatch.unexpected if name not in cut], left=[*mismatch.left, *cut]
    )


# ---------------------------------------------------------------------- models around a backbone, and what is said


def _rest(tensors: Mapping[str, Tensor], model: nn.Module, fit: Fit) -> dict[str, Tensor]:
    """Return what a file has for the other parts of a model: heads and necks, or a publisher's classifier."""
    if fit.prefix.endswith('backbone.'):
        outer = fit.prefix.removesuffix('backbone.')
        return {
            name.removeprefix(outer): tensor
            for name, tensor in tensors.items()
            if name.startswith(outer) and not name.startswith(fit.prefix)
        }
    if 'encoder_q' in fit.prefix.split('.'):
        return {}  # what MoCo calls fc projects features, and classifies nothing
    head = getattr(model, 'head', None)
    linear = [name for name, child in head.named_modules() if isinstance(child, nn.Linear)] if head else []
    tails = [name for name in tensors if (match := _CLASSIFIER.search(name)) and match.start() in (0, len(fit.prefix))]
    if len(linear) != 1 or len(tails) != 1:
        return {}
    layer, start = head.get_submodule(linear[0]), tails[0].removesuffix('weight')
    found = {leaf: tensors[start + leaf] for leaf in layer.state_dict() if start + leaf in tensors}
    if {leaf: tensor.shape for leaf, tensor in found.items()} != {k: v.shape for k, v in layer.state_dict().items()}:
        return {}
    return {f'head.{linear[0]}.{leaf}': tensor for leaf, tensor in found.items()}


#: What publishers call their classifier.
_CLASSIFIER = re.compile(r'(fc|_fc|last_linear|head|head\.fc|heads\.head|classifier|classifier\.[0-9])\.weight$')


def _mismatch(weights: Weights, module: nn.Module, fit: Fit) -> str:
    network = guess_network(weights)
    kind = 'Is it a checkpoint of another architecture or depth?'
    if network:
        kind = f'It is probably a checkpoint of {network}.'
    elif any('.reused.' in name for name in weights.tensors):
        kind = 'Its network has a second stem too, but differs in kind (MaskAny or MaskResNet), depth or width.'
    elif 'dist_token' in weights.tensors and any(name.startswith('pos_embed') for name in fit.mismatch.reshaped):
        kind = 'It is of a distilled network: mmpretrain.DistilledVisionTransformer takes it.'
    return (
        f'{weights.path}: the checkpoint does not fit the backbone {type(module).__name__}: it must fill all '
        f'{fit.mismatch.wanted} tensors and hold no other, but {fit.mismatch}. {kind}'
    )


def _report(weights: Weights, module: nn.Module, fit: Fit) -> None:
    text = f'{type(module).__name__}: {weights} fills all {fit.mismatch.wanted} tensors of the backbone'
    text += f'; the names are those of {fit.source}' if fit.source else ''
    text += f"; '{fit.prefix}' was taken off them" if fit.prefix else ''
    text += f'; not taken: the networks below {_quoted(fit.rivals)}' if fit.rivals else ''
    text += f'; left over: {fit.mismatch.describe_left()}' if fit.mismatch.left else ''
    print_log(f'{text}.', logger='current', level=logging.INFO)


def guess_network(weights: Weights) -> str | None:
    """Tell from its tensors which network a file is of.

    Args:
        weights (Weights): The weights.

    Returns:
        str | None: ``'timm/NAME'``, or a name of mmpretrain's hub; None where it cannot be told.
    """
    return next(iter(guess_networks(weights)), None)


def guess_networks(weights: Weights) -> list[str]:
    """List the networks that a file may be of by the shapes of its tensors, the likeliest first.

    First come those whose vectors and positions agree, too, then those that pad as TensorFlow does where the names are
    efficientnet_pytorch's, those that the file is named after, those of the library whose names its tensors have, and
    of these the shortest name: ``resnet50`` before ``resnet50_gn``.

    Args:
        weights (Weights): The weights.

    Returns:
        list[str]: Names, those of timm as ``'timm/NAME'``. All of them agree equally well.
    """
    known = next(filter(None, map(known_networks, _networks(weights.tensors))), {})
    best = max(known.values(), default=0)
    names = [name for name, agrees in known.items() if agrees == best]
    openmmlab = any(_OPENMMLAB.search(name) for name in weights.tensors)
    hub = openmmlab or importlib.util.find_spec('timm') is None
    tensorflow = any('_conv_stem.' in name for name in weights.tensors)  # efficientnet_pytorch pads as it does
    file = os.path.basename(weights.path).lower().replace('-', '_')

    def order(name: str) -> tuple:
        bare = name.removeprefix('timm/').replace('-', '_')
        said = len(bare) if bare in file else 0
        return tensorflow and not bare.startswith('tf_'), -said, name.startswith('timm/') == hub, len(bare), bare

    return sorted(names, key=order)


#: Names that only OpenMMLab gives.
_OPENMMLAB = re.compile(r'^backbone\.|\.ffn\.layers\.|\.w_msa\.|patch_embed\.projection\.|depthwise_conv\.')


def _networks(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield what may be a network among tensors, without a second stem: a model's backbone, all, each of several.

    Where a publisher stores matrices in parts, they are joined: query, key and value of transformers.
    """
    plain = {name: tensor for name, tensor in tensors.items() if '.reused.' not in name and '.fusion.' not in name}
    groups = [{name: tensor for name, tensor in plain.items() if re.search(r'(^|\.)backbone\.', name)}, plain]
    for depth in (1, 2):
        starts = dict.fromkeys('.'.join(name.split('.')[:depth]) + '.' for name in plain)
        starts = sorted(starts, key=_rank)[:8]
        groups += [
            {name.removeprefix(start): each for name, each in plain.items() if name.startswith(start)}
            for start in starts
        ]
    for group in filter(None, groups):
        yield group
        for naming in NAMINGS:
            if naming.source.startswith('transformers'):
                for start in _starts_at(group, naming.anchor):
                    yield naming({name.removeprefix(start): each for name, each in group.items()}, {})
