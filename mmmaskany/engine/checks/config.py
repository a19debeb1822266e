# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with the values of a config, said before anything is built, with the key as it is written there.

OpenMMLab's libraries hand most options on without a look: a number given as text, or a negative one, ends in an error
of PyTorch's that names no option, if at all. What an option may be is read from the signature of the class that takes
it. Options that are missing are left to Python, which names them, as are those that do not exist; but some classes take
whatever they are given, so that a misspelt option would never be missed.
"""

import argparse
import copy
import difflib
import inspect
import numbers
import os
import re
import sysconfig
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    DefaultScope,
    Registry,
)
from mmengine.runner import Runner
from torch import Tensor, nn

from mmmaskany import registry as _own
from mmmaskany.builder import PATTERN, build_augment, build_fill, build_masking, build_pattern, check_kind, made_by
from mmmaskany.masking import Augment, Fill, Masking

#: Where the classes of each part of a config are looked up.
_PARTS = {
    'model': (MODELS, TASK_UTILS),
    'data_preprocessor': (MODELS,),
    **dict.fromkeys(
        ('train_dataloader', 'val_dataloader', 'test_dataloader'), (DATASETS, TRANSFORMS, DATA_SAMPLERS, MODELS)
    ),
    **dict.fromkeys(('val_evaluator', 'test_evaluator'), (METRICS,)),
    'optim_wrapper': (OPTIM_WRAPPERS, OPTIMIZERS),
    'param_scheduler': (PARAM_SCHEDULERS,),
    **dict.fromkeys(('default_hooks', 'custom_hooks'), (HOOKS,)),
}
#: Where our own classes are, to say what a misspelt name may mean.
_OURS = (_own.MODELS, _own.DATASETS, _own.TRANSFORMS, _own.HOOKS)
#: What the names of options say of their values, where the libraries' signatures do not.
_COUNT = re.compile(r'(^|_)(channels|dims?|depth|batch_size)$|^num_')
_SHARE = re.compile(r'^(drop(out|_path)?_(rate|ratio)|prob)$')
_CONFIG = re.compile(r'(_cfgs?|backbone|neck|head|extractor|coder|assigner|generator|sampler)$')
#: Keys that the Runner reads from a config beside its own arguments, as do the tools.
_READ = (
    *('activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters'),
    *('model_wrapper_cfg', 'resource_limit', 'runner_type', 'sync_bn', 'tta_model', 'tta_pipeline'),
)
#: What a command line says by an option of its own, which has the last word.
_ARGUMENTS = dict(launcher='--launcher')
#: Dicts without a type of which the Runner reads these keys alone, and passes over all others.
_CLOSED = dict(
    auto_scale_lr=('enable', 'base_batch_size'),
    env_cfg=('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
)
#: Our own parts that cost nothing to build, so that what they refuse is said with its key.
_LIGHT = (
    *('mmmaskany.masking', 'mmmaskany.models.algebra', 'mmmaskany.engine.hooks', 'mmmaskany.engine.seeding.hook'),
    *('mmmaskany.datasets.transforms', 'mmmaskany.models.batch_augments', 'mmmaskany.models.sub_masking'),
)
#: The parts of a masking, which may be of anybody, and what builds them.
_ALGEBRA = {PATTERN: build_pattern, (Fill,): build_fill, (Augment,): build_augment, (Masking,): build_masking}
_LAYER = re.compile(r'\.(norm|act|conv)_cfg$')
_CHOICES = dict(style=('pytorch', 'caffe'))
#: Options whose annotations are not true: AmpOptimWrapper's takes numbers and dicts, too.
_UNTRUE = ('loss_scale',)


#: Whose files are no part of a config: Python's, what was installed, MMEngine's wherever it is, and this one.
_OTHERS = (
    '<',
    *map(sysconfig.get_path, ('stdlib', 'purelib', 'platlib')),
    os.path.dirname(mmengine.__file__),
    __file__,
)


_NUMBERS = (int, float, np.integer, np.floating)
#: The kinds of values that are told apart, and what each is called.
_KINDS: dict[type, tuple[str, Callable[[object], bool]]] = {
    bool: ('True or False', lambda value: value in (True, False)),
    float: ('a number', lambda value: isinstance(value, _NUMBERS)),
    str: ('a text', lambda value: isinstance(value, str)),
    Sequence: ('a list', lambda value: isinstance(value, (list, tuple))),
    Mapping: ('a dict', lambda value: isinstance(value, Mapping)),
    nn.Module: ('a module', lambda value: isinstance(value, nn.Module)),
}


def check_config(cfg: Config) -> None:
    """Make sure that the options of everything that a config names by a ``type`` can be what they are.

    An option is refused where its annotation, or, without one, its default value or its name allows no such kind of
    value: a text for a number, a number for a config. As the libraries' signatures do not always tell what they take,
    None and lists are never refused, nor is a number of another type. Counts (``*channels``, ``depth``, ``num_*`` ...)
    must not be negative, shares (``drop_path_rate``, ``prob`` ...) must be in [0, 1], and the name of an ``arch`` must
    be known.

    Args:
        cfg (Config): The config.

    Raises:
        KeyError: If a layer is not known. The message begins with the key of its type.
        TypeError: If a value is of another kind, or an option is misspelt. The message begins with its key.
        ValueError: If a number is out of range. The message begins with its key.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        for key, registries in _PARTS.items():
            if cfg.get(key):
                _check(cfg[key], key, registries)


def read_config(path: str, changes: Mapping[str, object] | None = None) -> Config:
    """Read a config file and lay the changes of a command line over it.

    Args:
        path (str): The file.
        changes (Mapping[str, object], optional): See :func:`merge_options`. Defaults to None.

    Returns:
        Config: The config.

    Raises:
        FileNotFoundError: If the file, or one that it is made of, is missing.
        ImportError: If something that it imports is not there.
        ValueError: If it is no Python, or ends in an error of any other kind.
    """
    try:
        cfg = Config.fromfile(path)
        expand_home(cfg)  # which imports the classes that a pure Python config names
    except FileNotFoundError as error:
        if not os.path.isfile(path):
            state = 'a folder' if os.path.isdir(path) else 'missing'
            raise FileNotFoundError(f'config {path} must be a file, but is {state}') from error
        raise FileNotFoundError(f'config {path} must exist with all that it is made of, but: {error}') from error
    except ImportError as error:
        advice = '. PYTHONPATH must have the folder of a module of your own'
        raise ImportError(f'config {path} must import what is there, but {_explain(path, error)}{advice}') from error
    except Exception as error:  # a config is a program of its own
        what = 'Python' if isinstance(error, SyntaxError) else 'a config that can be read'
        raise ValueError(f'config {path} must be {what}, but {_explain(path, error)}') from error
    merge_options(cfg, changes or {})
    return cfg


def _explain(path: str, error: BaseException) -> str:
    """Say where a config, or a module that it imports, has ended in an error, and in which."""
    while error.__cause__ or error.__context__:  # MMEngine wraps what it meets
        error = error.__cause__ or error.__context__
    if isinstance(error, SyntaxError):
        name, number, text, said = error.filename or '', error.lineno, error.text or '', error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if os.path.isfile(frame.filename)]
        own = [frame for frame in own if frame.filename == path or not frame.filename.startswith(_OTHERS)]
        name, number, text = (own[-1].filename, own[-1].lineno, own[-1].line) if own else ('', None, '')
        said = str(error.args[0] if len(error.args) == 1 else error)  # a KeyError would quote it
        if not isinstance(error, ImportError):
            said = f'{type(error).__name__}: {said}' if said else type(error).__name__
    parts = [name] if os.path.isfile(name) and not os.path.samefile(name, path) else []
    parts += [f'line {number}'] if number else []
    parts += [repr(text.strip())] if text and text.strip() else []
    return f'{", ".join(parts)}: {said}' if parts else said


class OptionAction(argparse.Action):
    """Read ``--cfg-options KEY=VALUE ...`` as MMEngine's ``DictAction`` does, and what that one cannot read.

    A value is a number, ``True``, ``False``, ``None`` or a text; ``a,b`` and ``[a,b]`` are lists, ``(a,b)`` is a tuple,
    ``{a: 1}`` and ``dict(a=1)`` are dicts, in each other as deep as one likes. A text keeps its spaces, and quotes make
    one of what would be something else.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Add the options to those that were given before."""
        changes = dict(getattr(namespace, self.dest) or {})
        for item in values:
            key, equals, value = item.partition('=')
            if not equals or not key:
                parser.error(f'argument {option_string}: must be KEY=VALUE, but got {item!r}')
            try:
                changes[key] = _read_value(value)
            except ValueError as error:
                parser.error(f'argument {option_string}: {key}: {error}')
        setattr(namespace, self.dest, changes)


_BRACKETS = {'[': ']', '(': ')', '{': '}'}
_WORDS = {'true': True, 'false': False}


def _read_value(text: str) -> object:
    """Read the value of an option."""
    parts = _split(text, ',')
    return _read_item(text) if len(parts) == 1 else [_read_item(part) for part in parts if part.strip()]


def _read_item(text: str) -> object:
    text = text.strip()
    if len(text) > 1 and text[0] in '\'"' and text[-1] == text[0]:
        return text[1:-1]
    named = text.startswith('dict(')
    inner = text.removeprefix('dict') if named else text
    if inner[:1] in _BRACKETS and _is_one(inner):
        parts = [part for part in _split(inner[1:-1], ',') if part.strip()]
        if named or inner[0] == '{':
            return dict(_read_pair(part, '=' if named else ':') for part in parts)
        return (list if inner[0] == '[' else tuple)(map(_read_item, parts))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text == 'None' else _WORDS.get(text.lower(), text)


def _read_pair(text: str, mark: str) -> tuple[object, object]:
    key, *value = _split(text, mark)
    if not value:
        raise ValueError(f'a dict must be dict(KEY=VALUE, ...) or {{KEY: VALUE, ...}}, but got {text.strip()!r} in it')
    return _read_item(key), _read_item(mark.join(value))


def _depths(text: str) -> Iterator[int]:
    """Yield after each character how many brackets and quotes are open."""
    opened, before = [], ','
    for char in text:
        if opened and char == opened[-1]:
            opened.pop()
        elif opened and opened[-1] in '\'"':
            pass
        elif char in _BRACKETS:
            opened.append(_BRACKETS[char])
        elif char in '\'"' and before in ',=:[({':  # where a value begins: others are apostrophes
            opened.append(char)
        before = before if char.isspace() else char
        yield len(opened)


def _is_one(text: str) -> bool:
    """Tell whether the bracket that a text begins with is closed at its end."""
    return list(_depths(text)).index(0) == len(text) - 1 if 0 in _depths(text) else False


def _split(text: str, mark: str) -> list[str]:
    """Split a text at the marks outside of brackets and quotes."""
    ends = [index for index, depth in enumerate(_depths(text)) if not depth and text[index] == mark]
    return [text[start + 1 : end] for start, end in zip([-1, *ends], [*ends, len(text)], strict=True)]


def merge_options(cfg: Config, changes: Mapping[str, object]) -> None:
    """Lay the changes of a command line over a config, and write out its paths that begin with ``~``.

    Args:
        cfg (Config): The config; it is changed.
        changes (Mapping[str, object]): The new values by their keys, such as ``'train_cfg.max_epochs'``.

    Raises:
        KeyError: If nothing would read a key: the Runner does not know it, as it does not know the variables of a
            config file once that was read, or it is spelt almost like another one.
        TypeError: If a key leads through a value that has no keys.
    """
    known = {*inspect.signature(Runner).parameters, *_READ}
    for key in changes:
        _check_read(cfg, key, known)
    try:
        cfg.merge_from_dict(dict(changes))
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise TypeError(f'--cfg-options must fit the config, but {", ".join(changes)} gave: {error}') from error
    expand_home(cfg)


def expand_home(node: object) -> None:
    """Write out every path below a part of a config that begins with ``~``, for the libraries take that as a name.

    Args:
        node (object): The config, or a dict or list of it; it is changed.
    """
    pairs = node.items() if isinstance(node, (Config, dict)) else enumerate(node)
    for key, value in list(pairs):
        if isinstance(value, str) and (value == '~' or value.startswith('~/')):
            node[key] = os.path.expanduser(value)
        elif isinstance(value, tuple) and any(isinstance(item, str) and item.startswith('~/') for item in value):
            node[key] = type(value)(os.path.expanduser(item) if isinstance(item, str) else item for item in value)
        elif isinstance(value, (dict, list)):
            expand_home(value)


def _check_read(cfg: Config, key: str, known: set[str]) -> None:
    """Make sure that something reads a key."""
    top, *names = key.split('.')
    if top in _ARGUMENTS:
        raise KeyError(f'{key} must be given by {_ARGUMENTS[top]}, which has the last word')
    if top not in known:
        if top not in cfg:
            raise KeyError(f'{key} must begin with a key of the config, but there is no {top}{_alike(top, known)}')
        used = [place for name in cfg if name in known for place in _places(cfg[name], name, top, cfg[top])]
        tail = ''.join(f'.{name}' for name in names)
        raise KeyError(
            f'{key} must be a key that is read, but {top} is a variable of the config file, whose value was taken '
            'when the file was read: '
            + (f'give {", ".join(place + tail for place in used[:4])} instead' if used else 'give what is made of it')
            + (f' ({len(used) - 4} more places have that value)' if len(used) > 4 else '')
        )
    node = cfg.get(top)
    for depth, name in enumerate(names):
        if not isinstance(node, Mapping):
            return
        place = '.'.join([top, *names[:depth]])
        if name not in node:
            closed = _CLOSED.get(place)
            if closed and name not in closed:
                raise KeyError(f'{key} must be a key that is read, which of {place} are {", ".join(closed)}')
            near = difflib.get_close_matches(name, node, 1, cutoff=0.87) if 'type' not in node else ()
            if near and not closed and name[:-1] != near[0]:  # a counted family, as stage1, stage2
                raise KeyError(f'{key} must be a key that is read, but {place} has {near[0]} only')
            return
        node = node[name]


def _places(node: object, key: str, name: str, value: object) -> Iterator[str]:
    """Yield the keys below a part of a config whose values were made of a variable, as far as that can be seen."""
    plain = isinstance(value, str) and len(value) > 3
    same = type(node) is type(value) and node == value or (plain and isinstance(node, str) and node.startswith(value))
    if same and (plain or key.endswith(f'.{name}') or (isinstance(value, (dict, list, tuple)) and len(value) > 1)):
        yield key
    elif isinstance(node, Mapping):
        for child in node:
            yield from _places(node[child], f'{key}.{child}', name, value)
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _places(child, f'{key}.{index}', name, value)


def options(node: object, key: str, registries: Sequence[Registry]) -> Iterator[tuple[str, Mapping, type | Callable]]:
    """Yield what a part of a config names by a type: key, options and class.

    Args:
        node (object): The part.
        key (str): Its key.
        registries (Sequence[Registry]): Where classes are looked up.

    Yields:
        tuple[str, Mapping, type | Callable]: A dict with a type, its key, and the class or function that it names.
    """
    if isinstance(node, Mapping):
        maker = _find(node, registries)
        if maker is None and key.endswith('.masking') and 'type' not in node:
            maker = MODELS.get('mmmaskany.Masking')
        if maker is not None:
            yield key, node, maker
        elif isinstance(node.get('type'), str) and (hint := _ours(node['type'])):
            raise KeyError(f'{key}.type must be the name of something, but there is no {node["type"]!r}{hint}')
        elif _LAYER.search(key) and isinstance(node.get('type'), str):  # MMCV would call it None
            raise KeyError(f'{key}.type must be the name of a layer, but got {node["type"]!r}')
        for name in node:
            yield from options(node[name], f'{key}.{name}', registries)
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from options(child, f'{key}.{index}', registries)


def _check(node: object, key: str, registries: Sequence[Registry]) -> None:
    found = list(options(node, key, registries))
    for place, given, maker in found:
        known = kinds(maker)
        for name, value in given.items():
            if name in ('type', '_scope_'):
                continue
            where = f'{place}.{name}'
            if name not in known:
                meant = difflib.get_close_matches(name, known.keys() - given.keys(), 1, cutoff=0.87)
                if meant:  # a class that passes on what it does not know might never say so
                    raise TypeError(f'{where} must be an option of {maker.__name__}, but there is {meant[0]} only')
                if (_is_ours(maker) or _builder(maker)) and not _takes_any(maker):
                    raise TypeError(f'{where} must be an option of {_name(maker, given)}, which are {", ".join(known)}')
            allowed = known.get(name) or _by_name(name)
            if _CONFIG.search(name):
                allowed = allowed - {float}
            if allowed and value is not None and not any(_KINDS[kind][1](value) for kind in allowed | {Sequence}):
                wanted = ' or '.join(what for kind, (what, _) in _KINDS.items() if kind in allowed)
                raise TypeError(f'{where} must be {wanted} for {_name(maker, given)}, but got {value!r}')
            if _is_ours(maker):
                _check_kinds(where, name, value)
            _check_range(where, name, value, maker)
    for place, given, maker in reversed(found):  # the parts before what they are a part of
        build = _builder(maker)
        if build or maker.__module__.startswith(_LIGHT):
            own = copy.deepcopy({name: value for name, value in given.items()})  # noqa: C416, a ConfigDict's are lazy
            try:
                if build:
                    build(own)
                else:
                    maker(**{name: value for name, value in own.items() if name not in ('type', '_scope_')})
            except (KeyError, TypeError, ValueError) as error:
                raise type(error)(f'{place}: {error.args[0]}') from error


def _is_ours(maker: type | Callable) -> bool:
    return maker.__module__.startswith('mmmaskany.')


def _builder(maker: type | Callable) -> Callable | None:
    """Return what builds a part of a masking, with the parts that it has; None for anything else."""
    made = made_by(maker)
    kinds = (kinds for kinds in _ALGEBRA if isinstance(made, type) and issubclass(made, kinds))
    return _ALGEBRA.get(next(kinds, None))


def _check_kinds(where: str, name: str, value: object) -> None:
    """Refuse what is no pattern, fill, augment or fusion where one of ours takes such."""
    if name not in ('pattern', 'patterns', 'fill', 'augment', 'fusion'):
        return
    from mmmaskany.models.stems import Fusion  # with all models

    kinds = dict(fill=(Fill,), augment=(Augment,), fusion=(Fusion,)).get(name, PATTERN)
    several = isinstance(value, (list, tuple))
    for index, part in enumerate(value if several else [value]):
        if isinstance(part, Mapping):
            key = f'{where}.{index}' if several else where
            try:
                check_kind(part, kinds, name.removesuffix('s'))
            except (KeyError, TypeError) as error:
                raise type(error)(f'{key}: {error.args[0]}') from error


def _name(maker: type | Callable, given: Mapping) -> str:
    """Return how a config calls a class: some are built by functions of other names."""
    name = given.get('type', 'masking')
    return name.removeprefix('mmmaskany.') if inspect.isfunction(maker) and isinstance(name, str) else maker.__name__


def _takes_any(maker: type | Callable) -> bool:
    """Tell whether a class hands on options that no signature names."""
    *_, last = _constructors(maker)
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(last).parameters.values())


def _ours(name: str) -> str:
    """Say what a type may mean that is not known: one of ours without its prefix, or misspelt."""
    names, bare = {own for registry in _OURS for own in registry.module_dict}, name.removeprefix('mmmaskany.')
    if bare in names:  # with its prefix it is looked up elsewhere
        return f': write mmmaskany.{name}, with the prefix' if bare == name else ''
    return _alike(bare, names, 'mmmaskany.')


def _alike(name: str, known: Iterable[str], prefix: str = '') -> str:
    """Return ``; did you mean ...?`` where a name is spelled like another one, else nothing."""
    near = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.9)
    return f'; did you mean {prefix}{near[0]}?' if near else ''


def _check_range(where: str, name: str, value: object, maker: type | Callable) -> None:
    for number in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(number, bool) or not isinstance(number, _NUMBERS):
            continue
        if _COUNT.search(name) and number < 0:
            raise ValueError(f'{where} must be at least 0, but got {value!r}')
        if _SHARE.search(name) and not 0 <= number <= 1 and number != -1:  # with -1 some classes drop nothing
            raise ValueError(f'{where} must be in [0, 1], but got {value!r}')
    choices = _CHOICES.get(name)
    if name == 'arch':
        choices = getattr(maker, 'arch_zoo', None) or getattr(maker, 'arch_settings', None)
    known = {value, value.lower()} & set(choices or ()) if isinstance(value, str) else not isinstance(value, _NUMBERS)
    if choices and not known:
        raise ValueError(f'{where} must be one of {sorted(map(str, choices))}, but got {value!r}')


def _by_name(name: str) -> set[type]:
    """Return the kinds that an option of this name may take where its class does not say so; none means any."""
    if _COUNT.search(name) or _SHARE.search(name):
        return {float, Mapping}
    return {Mapping} if _CONFIG.search(name) else set()


def _find(node: Mapping, registries: Sequence[Registry]) -> type | Callable | None:
    """Find the class that a dict names, None where it names none that is known."""
    name = node.get('type')
    if not isinstance(name, str):
        return name if callable(name) else None
    for registry in registries:
        with registry.switch_scope_and_registry(node.get('_scope_')) as scoped:
            try:
                maker = scoped.get(name)
            except Exception:  # what is named is not there, which is said when it is built
                maker = None
        if maker is not None:  # what mmpretrain takes from torchvision it wraps
            return maker.keywords['transform'] if isinstance(maker, partial) else maker
    return None


@lru_cache(maxsize=1024)
def kinds(maker: type | Callable) -> dict[str, set[type]]:
    """Read from signatures which kinds of values the options of a class may take.

    Args:
        maker (type | Callable): The class, or a function.

    Returns:
        dict[str, set[type]]: The kinds by the names of the options, as keys of ``_KINDS``; none means any.
    """
    known: dict[str, set[type]] = {}
    for function in _constructors(maker):
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # names that exist for a type checker alone
            hints = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if name in known or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            allowed = None
            if parameter.annotation is parameter.empty:
                allowed = _of_default(parameter.default)
            elif name in hints:
                allowed = _of_annotation(hints[name])
                if allowed and parameter.default not in (parameter.empty, None):  # annotations may say less
                    allowed |= (_of_default(parameter.default) or set()) - {Mapping}
            known[name] = allowed or set()
    known.pop('self', None)
    known.update({name: set() for name in _UNTRUE if name in known})
    return known


def _constructors(maker: type | Callable) -> Iterator[Callable]:
    """Yield the functions whose options a class takes: its constructor, and those that get what it leaves over."""
    if not isinstance(maker, type):
        yield maker
        return
    for cls in maker.__mro__:
        function = vars(cls).get('__init__')
        if inspect.isfunction(function):
            yield function
            if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
                return


def _of_annotation(hint: object) -> set[type] | None:
    """Return the kinds that an annotation allows, None where it may be anything."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        parts = [_of_annotation(part) for part in typing.get_args(hint) if part is not type(None)]
        return None if None in parts else set().union(*parts)
    if origin is numbers.Number or origin is int:
        return {float}
    if origin is Tensor:  # which no config holds
        return set()
    for kind in _KINDS:
        if isinstance(origin, type) and issubclass(origin, kind):
            return {float, Sequence} if kind is Sequence else {kind}  # one number may stand for a list of them
    return None


def _of_default(default: object) -> set[type] | None:
    """Return the kinds that an option without annotation may take by its default, None where it may be anything."""
    if isinstance(default, bool):
        return {bool}
    if isinstance(default, (*_NUMBERS, list, tuple)):
        return {float, Mapping}
    if isinstance(default, Mapping):
        return {Mapping, nn.Module}
    return None
