# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""VOC's format: lists of names, XML files, photos."""

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmmaskany.engine.checks.data import check_dataset

OBJECT = (
    '<object><name>{name}</name>{more}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>'
    '</object>'
)


@pytest.fixture
def voc(tmp_path):
    """Two photos: ``voc(objects, size, **options)`` replaces the first one's XML and returns the findings."""
    maker = pytest.importorskip('mmdet.datasets').VOCDataset
    (tmp_path / 'JPEGImages').mkdir()
    (tmp_path / 'Annotations').mkdir()
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'JPEGImages/{name}.jpg'), np.zeros((40, 60, 3), np.uint8))

    def look(objects=None, size=(60, 40), level=None, names='a\nb\n', **options):
        good = one() + one(name='dog')
        sized = '<size><width>{}</width><height>{}</height></size>'
        for name, content, pixels in (('a', objects or good, size), ('b', good if objects is None else '', (60, 40))):
            text = f'<annotation>{sized.format(*pixels) if pixels else ""}{content}</annotation>'
            (tmp_path / f'Annotations/{name}.xml').write_text(text)
        (tmp_path / 'list.txt').write_text(names)
        dataset = dict(data_root=str(tmp_path), ann_file='list.txt', metainfo=dict(classes=('cat', 'dog')))
        dataset['data_prefix'] = dict(sub_data_root='')
        survey = look.survey = check_dataset('train', ConfigDict(dataset, **options), maker)
        return [finding.text for finding in survey.findings if level in (None, finding.level)]

    look.folder = tmp_path
    return look


def one(box=(5, 5, 20, 20), name='cat', more=''):
    return OBJECT.format(*box, name=name, more=more)


def test_good_set(voc):
    assert voc() == []
    assert voc.survey.counts == dict(cat=2, dog=2)
    assert voc(size=None) == []


@pytest.mark.parametrize(
    ('objects', 'size', 'level', 'text'),
    [
        ('<object>', (60, 40), 'error', 'annotations must be XML, but 1 of 2 files are not'),
        (one(box=('', 5, 9, 9)), (60, 40), 'error', 'the box of a cat'),
        (one(box=('nan', 5, 9, 9)), (60, 40), 'error', 'the box of a cat'),
        ('<object><name>cat</name></object>', (60, 40), 'error', 'the box of a cat'),
        (one().replace('<name>cat</name>', ''), (60, 40), 'error', 'an object without a name'),
        (one(), ('w', 40), 'error', 'a.xml: size'),
        (one(), (0, 0), 'error', '1 files give none'),
        (one(), (40, 60), 'error', 'a.jpg is 60 x 40 px and annotated as 40 x 60'),
        (one((70, 5, 90, 20)), (60, 40), 'error', 'boxes must lie in their image'),
        (one((0.1, 0.1, 0.5, 0.6)), (60, 40), 'error', 'looks like shares of the image'),
        (one((20, 5, 20, 20)), (60, 40), 'error', 'must have xmin < xmax and ymin < ymax, but 1 have not'),
        (one((20, 5, 9, 20)) + one() + one(), (60, 40), 'warning', 'but 1 have not'),
        (one(name='bird'), (60, 40), 'error', 'names of objects must be classes, cat, dog, but all 1 are others: bird'),
        (one() + one(name='Cat '), (60, 40), 'warning', "left out: 'Cat ' (1); names are compared letter by letter"),
        (one() + one(name='bird'), (60, 40), 'note', "left out: 'bird' (1)"),
        (one(more='<difficult>1</difficult>'), (60, 40), 'error', 'all 1 objects are difficult'),
        (' ', (60, 40), 'error', 'must have objects to learn, but there are none'),
        (one(), (60, 40), 'warning', '1 of 2 classes have no object: dog'),
    ],
)
def test_fields(voc, objects, size, level, text):
    found = voc(objects, size, level)
    assert any(text in one_text for one_text in found), voc.survey.findings


def test_names_and_files(voc):
    assert 'lines 2 are blank or have spaces' in voc(names='a\n\nb\n')[0]
    assert 'it is empty' in voc(names='')[0]
    assert 'has 1 more often: a' in voc(names='a\nb\na\n')[0]
    (voc.folder / 'JPEGImages/b.jpg').rename(voc.folder / 'JPEGImages/b.png')
    (text,) = voc()
    assert '1 are missing' in text and text.endswith('holds b.png')
