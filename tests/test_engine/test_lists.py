# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Lists of images and labels: what cannot be read, or would be read wrongly, is named with its line."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmmaskany.engine.checks.data import check_data

PLAIN = 'a/1.png 0\na/2.png 1\nb/3.png 2\n'


@pytest.fixture
def listed(tmp_path):
    """Look at a list: ``listed(text, **changes)`` returns what is found for a set of three classes."""
    for name in ('a/1.png', 'a/2.png', 'b/3.png', 'my cat.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))

    def look(text, name='train.txt', split='train', **changes):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='images', ann_file=name)
        cfg = dict(default_scope='mmpretrain', model=dict(head=dict(num_classes=3)))
        (survey,) = check_data(Config({**cfg, f'{split}_dataloader': dict(dataset={**dataset, **changes})}), (split,))
        return [(finding.level, finding.text) for finding in survey.findings], survey.counts

    return look


@pytest.mark.parametrize(
    'text',
    [
        PLAIN,
        PLAIN.rstrip('\n'),
        PLAIN.replace('\n', '\r\n'),
        PLAIN + 'my cat.png 1\n',
        PLAIN.replace('.png 0', '.png 0 '),
    ],
    ids=['plain', 'no last newline', 'CRLF', 'space in a name', 'space behind'],
)
def test_good_lists(listed, text):
    assert listed(text)[0] == []


def test_counts(listed):
    assert listed(PLAIN)[1] == {'0': 1, '1': 1, '2': 1}
    names = dict(metainfo=dict(classes=('x', 'y', 'z')))
    assert listed(PLAIN, **names)[1] == dict(x=1, y=1, z=1)


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        (PLAIN.replace(' ', ','), "but 3 are not: line 1 is 'a/1.png,0', with a comma: write a space in its place"),
        (
            'file,label\n' + PLAIN.replace(' ', ','),
            "4 are not: line 1 is 'file,label', with a comma: .*, and no heading",
        ),
        (PLAIN.replace(' ', '\t'), r"3 are not: line 1 is 'a/1.png\\t0', with a tab"),
        (PLAIN.replace('2.png 1', '2.png;1'), "1 are not: line 2 is 'a/2.png;1', with a semicolon"),
        ('my cat.png\t0\n' + PLAIN, 'line 1 .* with a tab'),
        (PLAIN + '\n', 'one line is blank: 4'),
        ('\n\n' + PLAIN, '2 lines are blank: 1, 2'),
        (PLAIN.replace('png 1', 'png dog'), "line 2 is 'a/2.png dog': a label is a number, from 0"),
        (PLAIN.replace('png 1', 'png 1.0'), 'a label is a whole number, not 1'),
        (PLAIN.replace('png 1', 'png'), "line 2 is 'a/2.png': it has no label"),
        ('0 a/1.png\n', "line 1 is '0 a/1.png'"),
        ('\ufeff' + PLAIN, 'begins with a byte order mark'),
        (PLAIN.encode('utf-16'), 'must be a text in UTF-8'),
        ('', 'must list images, but is empty'),
        ('a/1.png 1\na/2.png 2\nb/3.png 3\n', '1 of 3 in .* above: line 3 has 3. The labels count from 1: subtract 1'),
        (PLAIN.replace('png 2', 'png 7'), 'labels must be 0 to 2 for 3 classes, but 1 of 3 .* line 3 has 7'),
        (PLAIN.replace('png 2', 'png -1'), 'must be numbers from 0, but 1 of .* below: line 3 has -1'),
        (PLAIN.replace('2.png', '9.png'), r'1 are missing: .*images/a/9\.png.*3 of 3 were looked at'),
        (PLAIN.replace('2.png 1', '2.png  1'), "more than one space behind 'a/2.png'"),
        (PLAIN.replace('2.png 1', '2.png 1 2'), 'more than one label a line, which needs mmpretrain.MultiLabelDataset'),
        (PLAIN.replace('a/', 'images/a/'), r'images/a/1\.png is there: take data_prefix out of'),
        ('a/1.png 0\na/2.png 0\n', 'two classes at least, for with one the loss is 0 .* all labels are 0'),
    ],
)
def test_bad_lists(listed, text, wanted):
    found, _ = listed(text)
    assert any(level == 'error' and re.search(wanted, said, re.DOTALL) for level, said in found), found


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        (PLAIN + 'a/1.png 2\n', 'a second label: a/1.png as 0 and 2'),
        (PLAIN + 'a/1.png 0\n', 'lists 1 images more than once'),
        ('a/1.png 1\na/2.png 2\n', '1 of 3 classes occur in no image: 0'),
    ],
)
def test_odd_lists(listed, text, wanted):
    ((level, said),) = listed(text)[0]
    assert level == 'warning' and wanted in said


def test_lists_without_labels(listed):
    assert listed('a/1.png\nmy cat.png\n', with_label=False)[0] == []
    ((level, said),) = listed('a/1.png\n\nmy cat.png\n', with_label=False)[0]
    assert level == 'error' and 'one line is blank: 2' in said


def test_named_labels_are_numbered(listed):
    ((_, said),) = listed(PLAIN.replace('png 1', 'png y'), metainfo=dict(classes=('x', 'y', 'z')))[0]
    assert "a label is a number, and 'y' is 1" in said


def content(*labels, **changes):
    samples = [dict(img_path='a/1.png', gt_label=label) for label in labels]
    return json.dumps({**dict(metainfo=dict(classes=['x', 'y', 'z']), data_list=samples), **changes})


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        (content([0, 2], [1]), None),
        ('[', 'must be a JSON file'),
        ('[]', 'lacks one of the two'),
        (content(1), "gt_label, but 1 have not: data_list 0 is {'img_path': 'a/1.png', 'gt_label': 1}"),
        (content(['x']), 'but 1 have not'),
        (
            content([1, 3]),
            r'labels must be 0 to 2 for 3 classes, but 1 of 2 .* a/1\.png has 3. The labels count from 1',
        ),
        (content([-1]), 'must be numbers from 0'),
        (content(data_list=[]), 'must list images, but is empty'),
        (content(data_list=[dict(img_path='q.png', gt_label=[0])]), r'1 are missing: .*q\.png'),
    ],
)
def test_several_labels(listed, text, wanted):
    found, counts = listed(text, 'train.json', type='MultiLabelDataset')
    if wanted is None:
        assert found == [] and counts == dict(x=1, y=1, z=1)
    else:
        assert any(level == 'error' and re.search(wanted, said) for level, said in found), found


def test_training_stops_before_it_starts(tiny_config, tool, image_folder, tmp_path):
    files = sorted((image_folder / 'train').rglob('*.png'))
    lines = [f'{file.relative_to(image_folder / "train")} {"abc".index(file.parent.name) + 1}' for file in files]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    data = dict(dataset=dict(ann_file=str(Path(tmp_path / 'list.txt'))))
    with pytest.raises(ValueError, match=r'labels must be 0 to 2 .* The labels count from 1'):
        tool('train')([tiny_config(train_dataloader=data), '--work-dir', str(tmp_path / 'run')])
    assert not (tmp_path / 'run').exists()


def test_labels_of_another_order(tiny_config, tool, image_folder, tmp_path):
    files = sorted((image_folder / 'val').rglob('*.png'))
    for name, order in (('good', 'abc'), ('bad', 'bca')):
        lines = [f'{file.relative_to(image_folder / "val")} {order.index(file.parent.name)}' for file in files]
        (tmp_path / f'{name}.txt').write_text('\n'.join(lines))
    one = dict(num_workers=0, persistent_workers=False)

    def train(name):
        val = dict(dataset=dict(ann_file=str(tmp_path / f'{name}.txt')), **one)
        config = tiny_config(name, train_dataloader=one, val_dataloader=val, train_cfg=dict(max_epochs=1))
        tool('train')([config, '--work-dir', str(tmp_path / name)])

    train('good')
    with pytest.raises(
        ValueError, match=r'12 of 12 labels that were looked at are not those of their folders: .*is 2, c'
    ):
        train('bad')
