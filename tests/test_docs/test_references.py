# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What docstrings refer to is there, so that the site can link it and a reader can find it."""

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path

from shipped import ROOT

import mmmaskany

ROLE = re.compile(r':(?:class|func|meth|mod|data|attr|exc):`~?([^`<]+)`')
#: An editable install has links to tools in it, and `python -m mmmaskany` runs when it is imported.
FILES = [path for path in (ROOT / 'mmmaskany').rglob('*.py') if '.mim' not in path.parts and path.stem != '__main__']


def module_of(path: Path):
    return importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'))


@functools.cache
def places() -> tuple[dict[str, set], dict[str, set]]:
    """Return where what is defined in the package is found by its name, and where its modules are."""
    objects: dict[str, set] = {}
    modules: dict[str, set] = {}
    for module in map(module_of, FILES):
        modules.setdefault(module.__name__.rpartition('.')[2], set()).add(module.__name__)
        for name, value in vars(module).items():
            if getattr(value, '__module__', module.__name__) == module.__name__:
                objects.setdefault(name, set()).add(f'{module.__name__}.{name}')
    return objects, modules


def has(space: object, names: list[str]) -> bool:
    for name in names:
        if name in getattr(space, '__annotations__', {}):
            return True  # a field
        if not hasattr(space, name):
            return False
        space = getattr(space, name)
    return True


def absolute(target: str) -> bool:
    names = target.split('.')
    for length in range(len(names), 0, -1):
        try:
            space = importlib.import_module('.'.join(names[:length]))
        except ImportError:
            continue
        if has(space, names[length:]):
            return True
    return False


def resolves(target: str, path: Path, line: int) -> bool:
    """Tell whether a target is found as Sphinx finds it: from where it stands, whole, or with a dot anywhere."""
    module = module_of(path)
    if target.startswith('.'):
        first, _, rest = target[1:].partition('.')
        found = next((known[first] for known in places() if first in known), set())
        return len(found) == 1 and absolute('.'.join(filter(None, (*found, rest))))
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    inside = [getattr(module, node.name) for node in classes if node.lineno <= line <= node.end_lineno]
    return any(has(space, target.split('.')) for space in (*inside, module)) or absolute(target)


def test_what_docstrings_refer_to_is_there():
    missing, count = [], 0
    for path in FILES:
        text = path.read_text()
        for match in ROLE.finditer(text):
            count += 1
            line = text[: match.start()].count('\n') + 1
            if not resolves(match[1].removesuffix('()'), path, line):
                missing.append(f'{path.relative_to(ROOT)}:{line} {match[0]}')
    assert count > 300 and missing == []


def test_a_reference_to_nothing_is_found():
    path = Path(inspect.getsourcefile(importlib.import_module('mmmaskany.masking.fills')))
    assert resolves('ConstantFill', path, 1) and resolves('.GridPattern', path, 1)
    assert resolves('mmmaskany.wrap', path, 1) and callable(mmmaskany.wrap)
    for target in ('GridPatern', '.GridPatern', 'mmmaskany.masking.Grid', 'GridPattern'):
        assert not resolves(target, path, 1)
