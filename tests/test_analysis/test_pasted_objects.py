# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json

import cv2
import numpy as np
import pytest
import torch

from mmmaskany.analysis.occlusion import Pixels
from mmmaskany.analysis.pasted_objects import PastedObjects


@pytest.fixture(scope='module')
def objects(tmp_path_factory):
    """Two photos: a green square of 40 px on black, and a red triangle of legs of 40 px; and what cannot be used."""
    folder = tmp_path_factory.mktemp('objects')
    for name, colour in (('green.png', (0, 255, 0)), ('red.png', (0, 0, 255))):
        image = np.zeros((64, 64, 3), np.uint8)
        image[10:51, 10:51] = colour
        cv2.imwrite(str(folder / name), image)
    square, triangle = [10, 10, 50, 10, 50, 50, 10, 50], [10, 10, 50, 10, 10, 50]
    box = [10, 10, 41, 41]
    annotations = [
        dict(image_id=1, segmentation=[square, []]),  # which need no box
        dict(image_id=2, bbox=box, segmentation=[triangle]),
        dict(image_id=1, bbox=box, segmentation=dict(counts=[0], size=[64, 64])),
        dict(image_id=1, segmentation=[[10, 10, 40, 10, 40, 50]]),  # 30 px wide
        dict(image_id=1, segmentation=[[float('nan')] * 6]),
        dict(image_id=1, segmentation=[[]]),
        dict(image_id=1, bbox=box),
    ]
    images = [dict(id=1, file_name='green.png'), dict(id=2, file_name='red.png')]
    (folder / 'objects.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    return folder


PIXELS = Pixels(torch.zeros(3, 1, 1), torch.full((3, 1, 1), 255.0), True)


def test_objects_are_pasted_along_their_outlines(objects):
    paste = PastedObjects(objects / 'objects.json', objects)
    (_, square), (_, triangle) = paste.objects
    assert square.sum() == 41 * 41 and abs(int(triangle.sum()) - 41 * 42 // 2) < 3
    images = torch.full((40, 3, 50, 60), 0.5)
    pasted, shares = paste.paste(images, 0.4, PIXELS)
    assert (images == 0.5).all()
    hidden = (pasted != 0.5).any(1)
    torch.testing.assert_close(hidden.flatten(1).double().mean(1), torch.tensor(shares, dtype=torch.double))
    assert min(shares) >= 0.4 and max(shares) < 0.52  # never more than one object of a tenth beyond
    colours = pasted.permute(0, 2, 3, 1)[hidden].unique(dim=0)
    assert {tuple(colour) for colour in colours.tolist()} == {(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)}  # no black, as around


def test_an_object_has_its_size_and_more_of_them_hide_more(objects):
    paste = PastedObjects(objects / 'objects.json', objects, size=0.04)
    images = torch.full((64, 3, 100, 100), 0.5)
    one, shares = paste.paste(images, 1e-6, PIXELS)
    assert max(shares) == pytest.approx(0.04, rel=0.1)  # those that the border cuts are smaller
    some = paste.paste(images, 0.3, PIXELS)[0]
    more = paste.paste(images, 0.6, PIXELS)[0]
    for less, most in ((one, some), (some, more)):
        assert not ((less != 0.5).any(1) & ~(most != 0.5).any(1)).any()
    assert torch.equal(paste.paste(images[5:9], 0.3, PIXELS, first=5)[0], some[5:9])
    assert not torch.equal(paste.paste(images, 0.3, PIXELS, seed=1)[0], some)
    assert (one != some).flatten(1).any(1).all() and len(one.flatten(1).unique(dim=0)) > 60


def test_what_is_no_object(objects, tmp_path):
    with pytest.raises(ValueError, match=r'ratio must be in \(0, 1\), but got 1'):
        PastedObjects(objects / 'objects.json', objects).paste(torch.zeros(1, 3, 8, 8), 1, PIXELS)
    data = json.loads((objects / 'objects.json').read_text())
    (tmp_path / 'boxes.json').write_text(json.dumps(dict(data, annotations=data['annotations'][2:])))
    with pytest.raises(ValueError, match='must outline objects by polygons.*none of its annotations does'):
        PastedObjects(tmp_path / 'boxes.json', objects)
    triangle = [1, 2, 3, 4, 5, 6]
    big = dict(id=1, file_name='green.png', width=640, height=640)
    for change, match in (
        (dict(annotations=[dict(id=7, image_id=9, segmentation=[triangle])]), 'annotation 7 of .*KeyError: 9'),
        (
            dict(annotations=[dict(image_id=1, segmentation=[[1, 2, 3]])]),
            'annotation 0 of .*polygons as lists of x',
        ),
        (dict(annotations=[dict(image_id=1, segmentation=[['a'] * 6])]), 'annotation 0 of .*could not convert'),
        (dict(annotations=None), 'must be COCO annotations, with images and annotations'),
        (dict(images=[big]), 'states, 640 x 640 px.*is of 64 x 64 px'),
    ):
        broken = dict(data, annotations=data['annotations'][:1]) | change
        (tmp_path / 'broken.json').write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=match):
            PastedObjects(tmp_path / 'broken.json', objects)
    (tmp_path / 'broken.json').write_text('{')
    with pytest.raises(ValueError, match='must be COCO annotations.*JSONDecodeError'):
        PastedObjects(tmp_path / 'broken.json', objects)
    with pytest.raises(FileNotFoundError, match='none to read at'):
        PastedObjects(objects / 'objects.json', tmp_path)
