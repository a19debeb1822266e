# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Our models in mmpretrain's hub, so that ``get_model``, ``list_models`` and its inferencers know their names.

Nothing is imported and no file is read before somebody asks: :func:`install` waits until mmpretrain's hub is imported,
and the hub reads the metafiles when it is first asked for a name, as it does with mmpretrain's own.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

_HUB = 'mmpretrain.apis.model'
#: What mmpretrain builds and runs; detectors and segmentors are found by :func:`mmmaskany.apis.resolve`.
_TASKS = ('Image Classification', 'Masked Image Modeling', 'Self-Supervised Learning')


def install() -> None:
    """Add our models to mmpretrain's hub: now where it is imported already, else as soon as it is."""
    if _HUB in sys.modules:
        extend(sys.modules[_HUB].ModelHub)
    elif not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(MetaPathFinder):
    """Finds nothing itself, but extends the hub once it is imported, and is gone then."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname != _HUB:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module) -> None:
                run(module)
                extend(module.ModelHub)

            spec.loader.exec_module = exec_module
        return spec


def extend(hub: type) -> None:
    """Let the hub read our metafiles after mmpretrain's own, when it is first asked.

    Args:
        hub (type): ``mmpretrain.apis.ModelHub``.
    """
    first = hub._register_mmpretrain_models
    missing = True

    def register() -> None:
        nonlocal missing
        first()
        if missing:
            missing = False
            _register(hub)

    hub._register_mmpretrain_models = staticmethod(register)


def _register(hub: type) -> None:
    from mmmaskany.apis.model_index import index_root, load_models

    root, known = index_root(), hub._models_dict
    own = [model for model in load_models(root) if any(result['Task'] in _TASKS for result in model['Results'])]
    theirs = dict(known)
    known.clear()  # the hub refuses a name twice
    for folder in dict.fromkeys(model['Folder'] for model in own):
        hub.register_model_index(root / folder / 'metafile.yml', config_prefix=root)
    names = {model['Name'].lower() for model in own}  # a folder may hold detectors as well
    ours = {name: model for name, model in known.items() if name in names}
    known.clear()
    known.update(ours | theirs)  # a plain twin that is mmpretrain's own recipe stays theirs, with its weights
