# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Generated images of squares, for sets of every layout."""

import numpy as np
from PIL import Image

COLORS = ('red', 'green', 'blue')


def draw(generator, channel, size=(48, 64)):
    """An image of noise with a bright square of one colour, and the square's box."""
    image = generator.integers(0, 90, (*size, 3), dtype=np.uint8)
    x, y = (int(generator.integers(2, side - 22)) for side in reversed(size))
    image[y : y + 20, x : x + 20, channel] = 230
    return image, [x, y, 20, 20]


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def coco(count, name='{}.png'):
    """COCO json of `count` images, and the images by their names."""
    generator = np.random.default_rng(0)
    content = dict(images=[], annotations=[], categories=[dict(id=i, name=n) for i, n in enumerate(COLORS)])
    images = {}
    for index in range(count):
        image, (x, y, w, h) = draw(generator, index % 3)
        images[name.format(index)] = image
        content['images'].append(dict(id=index, file_name=name.format(index), width=64, height=48))
        outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        box = dict(id=index + 1, image_id=index, category_id=index % 3, bbox=[x, y, w, h], area=w * h, iscrowd=0)
        content['annotations'].append(dict(box, segmentation=outline))
    return content, images


TINY = (
    "default_scope = 'mmpretrain'\n"
    "backbone = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(3,))\n"
    "head = dict(type='LinearClsHead', num_classes=10, in_channels=32, loss=dict(type='CrossEntropyLoss'))\n"
    "model = dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)\n"
)


def write_classes(root, names, count=8):
    """Class folders of squares; a class that is called by a colour has squares of it."""
    generator = np.random.default_rng(0)
    for name in names:
        for index in range(count):
            image, _ = draw(generator, COLORS.index(name) if name in COLORS else 0)
            save(root / name / f'{index}.png', image)
    return root
