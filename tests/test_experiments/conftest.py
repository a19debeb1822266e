# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Generated images in every layout that people have, and a network small enough to train in seconds."""

import json

import numpy as np
import pytest
from generated_images import TINY, coco, draw, save, write_classes


@pytest.fixture
def class_folders(tmp_path):
    """Write class folders: ``class_folders('red', 'blue', count=4, below='train')``."""

    def write(*names, count=8, below='', root=tmp_path / 'data'):
        write_classes(root / below, names, count)
        return root

    return write


@pytest.fixture
def boxes(tmp_path):
    """Write a COCO set: ``boxes(count)``."""

    def write(count=12, split='', root=tmp_path / 'data'):
        content, images = coco(count)
        for name, image in images.items():
            save(root / 'images' / split / name, image)
        path = root / 'annotations' / f'instances_{split or "all"}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return root

    return write


@pytest.fixture
def label_maps(tmp_path):
    """Write images and label maps: 0 is background."""

    def write(count=8, root=tmp_path / 'data', ids=(1, 2, 3), ground=0):
        generator = np.random.default_rng(0)
        for index in range(count):
            image, (x, y, w, h) = draw(generator, index % 3)
            ids_of = np.full(image.shape[:2], ground, np.uint8)
            ids_of[y : y + h, x : x + w] = ids[index % len(ids)]
            save(root / 'images' / f'{index}.png', image)
            save(root / 'masks' / f'{index}.png', ids_of)
        return root

    return write


@pytest.fixture
def tiny_network(tmp_path):
    """The config of a classifier whose network has 40,000 parameters."""
    path = tmp_path / 'tiny.py'
    path.write_text(TINY)
    return path
