# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os

import numpy as np


def check_label_map(
    ids: np.ndarray, classes: int, ignore_index: int, reduce_zero_label: bool, path: str | os.PathLike
) -> None:
    """Make sure that a label map holds nothing but classes: on a GPU another id ends in a message that names nothing.

    Args:
        ids (np.ndarray): The map as mmseg loads it, of any shape.
        classes (int): Number of classes.
        ignore_index (int): The id of pixels that are left out.
        reduce_zero_label (bool): Whether the ids in the file are larger by one.
        path (str | os.PathLike): The file, for the error.

    Raises:
        ValueError: If it holds another id. The message names the ids as they are in the file.
    """
    wrong = (ids >= classes) & (ids != ignore_index)
    if wrong.any():
        found = [int(value) + reduce_zero_label for value in np.unique(ids[wrong])]
        raise ValueError(
            f'{path} must hold the ids of {classes} classes, {int(reduce_zero_label)} to '
            f'{classes - 1 + reduce_zero_label}{", and 0 for unlabelled" if reduce_zero_label else ""}, but holds '
            f'{", ".join(map(str, found[:10]))}{" ..." if len(found) > 10 else ""}'
        )
