# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Pictures of predictions that do not overwrite each other."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path

from mmengine.runner import Runner


def keep_all_pictures(runner: Runner) -> None:
    """Let pictures of images of equal names, in several folders, go to folders of their own, or bear their names.

    The libraries name a picture by its image's name alone, so that of several of one name the last is left. Where all
    names of the data differ, this changes nothing.

    Args:
        runner (Runner): The runner of the test process, with its data; its visualizer is changed.
    """
    dataset = runner.test_loop.dataloader.dataset
    if not hasattr(dataset, 'get_data_info'):
        return
    paths = [dataset.get_data_info(index).get('img_path') for index in range(len(dataset))]
    paths = [os.path.abspath(path) for path in paths if isinstance(path, str)]
    if len({Path(path).name for path in paths}) == len(paths) or not paths:
        return
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    for name in ('visualize_cls', 'add_datasample'):
        draw = getattr(runner.visualizer, name, None)
        if draw is not None:
            setattr(runner.visualizer, name, _into_folders(draw, root))


def _into_folders(draw: Callable, root: str) -> Callable:
    """Wrap what draws a sample: its file gets the folder that its image has below the root."""
    signature = inspect.signature(draw)

    @functools.wraps(draw)
    def wrapped(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        path = getattr(given.arguments.get('data_sample'), 'img_path', None)
        if path is not None:
            place = os.path.relpath(os.path.dirname(os.path.abspath(path)), root)
            if given.arguments.get('out_file'):
                file = Path(given.arguments['out_file'])
                given.arguments['out_file'] = str(file.parent / place / file.name)
            else:  # mmseg's go where the visualizer writes, which makes no folders
                given.arguments['name'] = f'{place}__{given.arguments["name"]}'.replace(os.sep, '__')
        return draw(*given.args, **given.kwargs)

    return wrapped
