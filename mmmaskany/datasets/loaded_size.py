# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is looked at right after a sample was loaded: its size, and how its label map is stored."""

import os
from typing import Any

import numpy as np
from PIL import Image


def check_sizes_when_loaded(dataset: Any) -> None:
    """Let the pipelines of a detection or segmentation set compare each image with its annotation.

    Args:
        dataset (Dataset): The set, or a wrapper of some; their pipelines are extended by :func:`check_loaded_size`.
    """
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or [])]
    for child in inner:
        if child is not None:
            check_sizes_when_loaded(child)
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
    places = [i for i, step in enumerate(steps) if type(step).__name__ == 'LoadAnnotations']
    if places and check_loaded_size not in steps:
        steps.insert(places[-1] + 1, check_loaded_size)


def check_loaded_size(results: dict) -> dict:
    """Make sure that an image was loaded with the size that its annotation or label map has.

    Args:
        results (dict): What the pipeline has loaded.

    Returns:
        dict: The same.

    Raises:
        ValueError: If it has another size, as a photo has that is turned by its EXIF orientation, or if its label map
            was stored so that ids changed, see :func:`check_stored_map`.
    """
    loaded = results.get('ori_shape')
    if loaded is None:
        return results
    label_map = results.get('gt_seg_map')
    if label_map is not None:
        if isinstance(results.get('seg_map_path'), (str, os.PathLike)):
            check_stored_map(results['seg_map_path'])
        annotated, source = label_map.shape[:2], f'its label map {results.get("seg_map_path")}'
    else:
        annotated, source = (results.get('height') or 0, results.get('width') or 0), 'its annotation'
    if min(annotated) > 0 and max(abs(a - b) for a, b in zip(annotated, loaded, strict=False)) > 1:
        turned = ''
        if max(abs(a - b) for a, b in zip(annotated[::-1], loaded, strict=False)) <= 1:
            turned = (
                ". A photo is turned as its EXIF orientation says; color_type='color_ignore_orientation' of "
                'LoadImageFromFile loads it as it is stored'
            )
        raise ValueError(
            f'an image must have the size of {source}, {annotated[1]:g} x {annotated[0]:g} px, but is loaded with '
            f'{loaded[1]} x {loaded[0]}{turned}'
        )
    return results


def check_stored_map(path: str | os.PathLike) -> None:
    """Make sure that a label map is stored in a way that keeps ids, by the first bytes of its file.

    Args:
        path (str | os.PathLike): The file; one that is not on this machine is left alone.

    Raises:
        ValueError: If it is a JPEG, which changes ids, or has 16 bits and holds an id of more than eight, of which
            mmseg keeps the lower ones.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(26)
    except OSError:
        return
    if head.startswith(b'\xff\xd8\xff'):
        raise ValueError(
            f'label maps must be stored without loss, but {path} is JPEG, which changes ids: write it anew as '
            'PNG, from where it came'
        )
    if head.startswith(b'\x89PNG') and head[24] == 16:  # bits of a channel
        with Image.open(path) as image:
            ids = np.array(image)
        wrong = ids[(ids > 255) & (ids != 65535)]
        if wrong.size:
            raise ValueError(f'ids of label maps must be 0 to 255, but {path} has 16 bits and holds {wrong.max()}')
