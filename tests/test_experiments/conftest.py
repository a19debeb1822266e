# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Generated images in every layout that people have, and a network small enough to train in seconds."""

import json

import numpy as np
import pytest
from generated_images import COLORS, coco, draw, save


@pytest.fixture
def class_folders(tmp_path):
    """Write class folders: ``class_folders('red', 'blue', count=4, below='train')``."""
    generator = np.random.default_rng(0)

    def write(*names, count=8, below='', root=tmp_path / 'data'):
        for name in names:
            for index in range(count):
                image, _ = draw(generator, COLORS.index(name) if name in COLORS else 0)
                save(root / below / name / f'{index}.png', image)
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
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "backbone = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(3,))\n"
        "head = dict(type='LinearClsHead', num_classes=10, in_channels=32, loss=dict(type='CrossEntropyLoss'))\n"
        "model = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)\n"
    )
    return path
