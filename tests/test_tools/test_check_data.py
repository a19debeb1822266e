# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""tools/misc/check_data.py: a page of what is there, what is odd and what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/misc/check_data.py'
CONFIG = """
default_scope = 'mmdet'
train_dataloader = dict(dataset=dict(type='CocoDataset', data_root={root!r}, ann_file='train.json',
                                     data_prefix=dict(img=''), metainfo=dict(classes=('cat', 'dog'))))
val_dataloader = dict(dataset=dict(type='CocoDataset', data_root={root!r}, ann_file='val.json', test_mode=True,
                                   data_prefix=dict(img=''), metainfo=dict(classes=('cat', 'dog'))))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file={root!r} + '/val.json', metric=['bbox', 'segm'])
"""


def write(folder, name, **changes):
    box = dict(id=1, image_id=0, category_id=0, bbox=[5, 5, 20, 20], area=0, segmentation=[[5, 5, 25, 5, 25, 25]])
    content = dict(
        images=[dict(id=0, file_name='a.png', width=60, height=40)],
        annotations=[dict(box, **changes), dict(box, id=2, category_id=1, iscrowd=0)],
        categories=[dict(id=0, name='cat'), dict(id=1, name='dog')],
    )
    (folder / name).write_text(json.dumps(content))


def run(folder, *arguments):
    done = subprocess.run(
        [sys.executable, TOOL, folder / 'config.py', *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_page_and_exit_status(tmp_path):
    pytest.importorskip('mmdet')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path)))
    write(tmp_path, 'train.json')
    write(tmp_path, 'val.json')
    status, page, _ = run(tmp_path)
    assert status == 0
    assert '## train_dataloader.dataset' in page and '## val_dataloader.dataset' in page and '## test' not in page
    assert 'images: 1' in page and 'image sizes: 60 x 40 px' in page and 'of each class: cat 1, dog 1' in page
    assert '- derived or left out: 2 of 2 annotations' in page and page.endswith(
        '0 wrong, 0 odd, 4 derived or left out\n'
    )
    write(tmp_path, 'val.json', segmentation=None)
    status, page, _ = run(tmp_path)
    assert status == 1  # the metric needs masks that the pipeline does not
    assert "- wrong: annotations must have a 'segmentation' where masks are learnt or evaluated" in page
    assert run(tmp_path, '--splits', 'train')[0] == 0
    status, _, error = run(tmp_path, '--cfg-options', 'val_datalaoder.batch_size=3')
    assert status == 2 and 'Traceback (most' not in error and 'did you mean val_dataloader' in error


def test_a_config_without_data(tmp_path):
    (tmp_path / 'config.py').write_text('a = 1')
    status, _, error = run(tmp_path)
    assert status == 2
    assert 'must have data to look at, one of train_dataloader, val_dataloader, test_dataloader' in error
