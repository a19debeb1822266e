# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Builds the parts of a masking from configs: patterns, fills, and what holds them.

What a part may be is a question of its base class, not of a list: a class of anybody's that derives from
:class:`mmmaskany.masking.Pattern` works wherever a pattern is taken, in whatever scope it was registered, or given as a
class in a pure-Python config.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

from mmengine.registry import Registry

from mmmaskany.masking import DATA, Augment, Fill, Masking, MixturePattern, Pattern, check_pattern
from mmmaskany.registry import MODELS

#: The classes that a pattern may be of.
PATTERN = (Pattern, MixturePattern)
#: What is built.
Part = TypeVar('Part')


def build_pattern(cfg: object, data: Sequence[str] = DATA) -> Pattern | MixturePattern:
    """Build a pattern from its config; a built one is returned as it is.

    Args:
        cfg (object): The config, or a pattern.
        data (Sequence[str]): What it may ask for where it is used, of 'images' and 'scores'. Defaults to both.

    Returns:
        Pattern | MixturePattern: The pattern.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no pattern.
        ValueError: If it asks for what it is not given.
    """
    if isinstance(cfg, dict) and is_kind(cfg, MixturePattern):
        cfg = dict(cfg, patterns=[build_pattern(part) for part in cfg.get('patterns') or ()])
    return check_pattern(build_part(cfg, PATTERN, 'pattern'), data)


@overload
def build_fill(cfg: dict | Fill) -> Fill: ...
@overload
def build_fill(cfg: object) -> Fill | None: ...
def build_fill(cfg: object) -> Fill | None:
    """Build a fill from its config; a built one, or None, is returned as it is.

    Args:
        cfg (object): The config, a fill, or None.

    Returns:
        Fill | None: The fill.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no fill.
    """
    return None if cfg is None else build_part(cfg, (Fill,), 'fill')


def build_augment(cfg: object) -> Augment | None:
    """Build an augment from its config; a built one, or None, is returned as it is.

    Args:
        cfg (object): The config, an augment, or None.

    Returns:
        Augment | None: The augment.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no augment.
    """
    return None if cfg is None else build_part(cfg, (Augment,), 'augment')


@overload
def build_masking(cfg: dict | Masking) -> Masking: ...
@overload
def build_masking(cfg: object) -> Masking | None: ...
def build_masking(cfg: object) -> Masking | None:
    """Build what masks a batch from its config; what is built, or None, is returned as it is.

    Args:
        cfg (object): ``dict(pattern=..., fill=..., reuse=True, augment=...)``, the arguments of
            :class:`mmmaskany.masking.Masking`; with a ``type`` those of a class derived from it. Or a masking, or None.

    Returns:
        Masking | None: The masking.

    Raises:
        KeyError: If a type is not known.
        TypeError: If it, or one of its parts, is none of its kind.
    """
    if cfg is None:
        return None
    if isinstance(cfg, dict):
        parts = dict(pattern=build_pattern, fill=build_fill, augment=build_augment)
        built = {key: parts[key](value) if key in parts else value for key, value in cfg.items()}
        cfg = {'type': Masking, **built}
    return build_part(cfg, (Masking,), 'masking')


def build_part(cfg: object, kinds: tuple[type[Part], ...], what: str) -> Part:
    """Build a part from its config; a part that is built already is returned as it is.

    Args:
        cfg (object): The config, or the part.
        kinds (tuple[type[Part], ...]): The classes one of which it must be of.
        what (str): What messages call it.

    Returns:
        Part: The part.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is of none of the classes.
    """
    if isinstance(cfg, dict):
        check_kind(cfg, kinds, what)
        cfg = MODELS.build(cfg)
    if not isinstance(cfg, kinds):
        kind = f'the class {cfg.__name__}: write dict(type=...)' if isinstance(cfg, type) else type(cfg).__name__
        raise TypeError(f'{what} must be {_spell(kinds)}, but got {kind}')
    return cfg


def check_kind(cfg: dict, kinds: tuple[type, ...], what: str) -> None:
    """Make sure that a config names one of some classes, before anything is built.

    Args:
        cfg (dict): The config.
        kinds (tuple[type, ...]): The classes.
        what (str): What messages call it.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is of none of the classes.
    """
    made = made_by(find_maker(cfg, kinds, what))
    if isinstance(made, type) and not issubclass(made, kinds):
        raise TypeError(f'{what} must be {_spell(kinds)}, but got {made.__name__}')


def find_maker(cfg: dict, kinds: tuple[type, ...], what: str) -> Callable:
    """Find the class or function that a config names.

    Args:
        cfg (dict): The config.
        kinds (tuple[type, ...]): The classes that are looked for, to say what a misspelt name may mean.
        what (str): What messages call it.

    Returns:
        Callable: The class or function.

    Raises:
        KeyError: If there is no such.
    """
    name = cfg.get('type')
    if callable(name):
        return name
    with MODELS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        try:
            maker = registry.get(name)
        except Exception:  # what mmengine says names no other
            maker = None
    if not callable(maker):
        known = known_parts(kinds)
        some = known if len(known) <= 40 else f'the {len(known)} known ones'
        raise KeyError(f'type of {what} must be one of {some}, but got {name!r} in {cfg}{_hint(name, known)}')
    return maker


def is_kind(cfg: dict, kind: type) -> bool:
    """Tell whether a config names a class, or a function that returns one of it."""
    try:
        made = made_by(find_maker(cfg, (kind,), 'type'))
    except KeyError:  # said where it is built
        return False
    return isinstance(made, type) and issubclass(made, kind)


def known_parts(kinds: tuple[type, ...]) -> list[str]:
    """List what is registered of some classes, in any scope.

    Args:
        kinds (tuple[type, ...]): The classes.

    Returns:
        list[str]: The names as a config writes them, such as 'mmmaskany.GridPattern'; ours first.
    """
    MODELS.import_from_location()
    found = []
    for registry in (MODELS, *(other for other in _tree(MODELS.root) if other is not MODELS)):
        scope = '' if registry is MODELS.root else f'{registry.scope}.'
        for name, maker in registry.module_dict.items():
            made = made_by(maker)
            if isinstance(made, type) and issubclass(made, kinds):
                found.append(f'{scope}{name}')
    return found


def _tree(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _tree(child)


def made_by(maker: object) -> object:
    """Return the class of what a class or function makes, None where it does not say.

    Args:
        maker (object): The class or function.

    Returns:
        object: The class.
    """
    if isinstance(maker, type) or not callable(maker):
        return maker
    try:
        return typing.get_type_hints(maker).get('return')
    except Exception:  # names that exist for a type checker alone
        return None


def _spell(kinds: tuple[type, ...]) -> str:
    names = ' or '.join(kind.__name__ for kind in kinds)
    return f'{"an" if names[0] in "AEIO" else "a"} {names}'


def _hint(name: object, known: Sequence[str]) -> str:
    """Say what a name that is not known may mean."""
    if f'mmmaskany.{name}' in known:
        return f': write mmmaskany.{name}, with the prefix'
    near = difflib.get_close_matches(str(name), known, 1, cutoff=0.8)
    return f'; did you mean {near[0]}?' if near else ': of another package, name its module in custom_imports'
