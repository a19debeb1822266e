# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Our models in mmpretrain's hub, so that ``get_model``, ``list_models`` and its inferencers know their names."""

from __future__ import annotations

from .model_index import index_root, load_models, resolve

#: What mmpretrain builds and runs; detectors and segmentors are found by :func:`resolve`.
_TASKS = ('Image Classification', 'Masked Image Modeling', 'Self-Supervised Learning')


def register() -> None:
    """Let mmpretrain's hub read our metafiles after its own, when it is first asked for a name; once is enough.

    Importing :mod:`mmmaskany.models` calls it, and so do our tools.

    Raises:
        ImportError: If mmpretrain is not installed.
    """
    from mmpretrain.apis import ModelHub

    first = ModelHub._register_mmpretrain_models
    if getattr(first, 'reads_mmmaskany', False):
        return
    missing = True

    def register_models() -> None:
        nonlocal missing
        first()
        if missing:
            missing = False
            _add_models(ModelHub)

    register_models.reads_mmmaskany = True
    ModelHub._register_mmpretrain_models = staticmethod(register_models)


def _add_models(hub: type) -> None:
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


__all__ = ['index_root', 'load_models', 'register', 'resolve']
