# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import hashlib
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

CONVERTERS = Path(__file__).parents[2] / 'tools/dataset_converters'


@pytest.fixture(scope='module')
def digits():
    return runpy.run_path(str(CONVERTERS / 'digits.py'))


@pytest.fixture(scope='module')
def written(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    assert digits['main'](['--data-root', str(root)]) == 0
    return root / 'digits'


def fingerprint(folder: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        state.update(f'{path.relative_to(folder)}'.encode() + path.read_bytes())
    return state.hexdigest()


def test_digits_are_all_there(written):
    names = [path.name for split in ('train', 'val') for path in (written / split).glob('*/*.png')]
    assert sorted(names) == [f'{index:04d}.png' for index in range(1797)]
    assert json.loads((written / 'digits.json').read_text())['images'] == dict(train=1442, val=355)
    for label in range(10):
        counts = [len(list((written / split / str(label)).iterdir())) for split in ('train', 'val')]
        assert counts[1] == sum(counts) // 5


def test_digits_are_the_real_ones(digits, written):
    source = load_digits()
    for index in (0, 4, 1796):
        (path,) = written.glob(f'*/*/{index:04d}.png')
        assert path.parent.name == str(source.target[index])
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (32, 32) and image.dtype == np.uint8
        # The mean of each 4 x 4 pixels is close to the pixel that they were made of.
        small = image.reshape(8, 4, 8, 4).mean((1, 3)) / 255 * 16
        assert np.abs(small - source.images[index]).mean() < 1
    assert digits['splits'](np.array([0] * 6 + [1] * 5)) == ['train'] * 4 + ['val', 'train'] + ['train'] * 4 + ['val']


def test_digits_are_written_once(digits, written, tmp_path, capsys):
    before = fingerprint(written), written.stat().st_mtime_ns
    assert digits['main'](['--data-root', str(written.parent)]) == 0
    assert 'already there' in capsys.readouterr().out
    assert (fingerprint(written), written.stat().st_mtime_ns) == before
    next((written / 'val/0').iterdir()).unlink()
    assert digits['main'](['--data-root', str(written.parent), '--force']) == 0
    assert fingerprint(written) == before[0]
    assert sorted(path.name for path in written.parent.iterdir()) == ['digits']  # nothing is left behind


def test_digits_do_not_touch_what_is_not_theirs(digits, tmp_path, capsys):
    mine = tmp_path / 'digits' / 'mine.txt'
    mine.parent.mkdir()
    mine.write_text('mine')
    assert digits['main'](['--data-root', str(tmp_path)]) == 1
    assert 'must be absent or hold version' in capsys.readouterr().err
    assert mine.read_text() == 'mine'


def test_digits_appear_only_as_a_whole(digits, tmp_path, monkeypatch):
    def stop(root):
        (root / 'train').mkdir()
        raise OSError('no space left')

    monkeypatch.setitem(digits['SETS'], 'classification', ('digits', stop))
    assert digits['main'](['--data-root', str(tmp_path / 'data')]) == 1
    assert list((tmp_path / 'data').iterdir()) == []


@pytest.fixture
def tiny(tmp_path):
    for wnid in ('n02', 'n01', 'n03'):
        (tmp_path / 'train' / wnid / 'images').mkdir(parents=True)
    (tmp_path / 'val/images').mkdir(parents=True)
    table = 'val_0.JPEG\tn03\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n'
    (tmp_path / 'val/val_annotations.txt').write_text(table)
    return tmp_path


def test_tiny_imagenet_lists(tiny):
    main = runpy.run_path(str(CONVERTERS / 'tiny_imagenet.py'))['main']
    assert main([str(tiny)]) == 0
    assert (tiny / 'meta/classes.txt').read_text() == 'n01\nn02\nn03\n'
    assert (tiny / 'meta/val.txt').read_text() == 'val_0.JPEG 2\nval_1.JPEG 0\n'


def test_tiny_imagenet_is_read_by_its_config(tiny):
    from mmengine.config import Config
    from mmengine.registry import DATASETS, init_default_scope

    runpy.run_path(str(CONVERTERS / 'tiny_imagenet.py'))['main']([str(tiny)])
    for wnid in ('n01', 'n02', 'n03'):
        cv2.imwrite(str(tiny / f'train/{wnid}/images/{wnid}_0.JPEG'), np.zeros((64, 64, 3), np.uint8))
    cfg = Config.fromfile(CONVERTERS.parents[1] / 'configs/_base_/datasets/tiny-imagenet_bs128.py')
    init_default_scope('mmpretrain')
    here = dict(data_root=str(tiny), classes=str(tiny / 'meta/classes.txt'), pipeline=[])
    train, val = (DATASETS.build({**cfg[f'{split}_dataloader'].dataset, **here}) for split in ('train', 'val'))
    assert tuple(train.CLASSES) == tuple(val.CLASSES) == ('n01', 'n02', 'n03')
    assert [train.get_data_info(i)['gt_label'] for i in range(3)] == [0, 1, 2]
    assert [val.get_data_info(i)['gt_label'] for i in range(2)] == [2, 0]
    assert val.get_data_info(0)['img_path'] == str(tiny / 'val/images/val_0.JPEG')


def test_tiny_imagenet_names_what_is_wrong(tiny, capsys):
    main = runpy.run_path(str(CONVERTERS / 'tiny_imagenet.py'))['main']
    (tiny / 'val/val_annotations.txt').write_text('val_0.JPEG\tn01\nval_1.JPEG\tn99\n')
    assert main([str(tiny)]) == 1
    assert "line 2: the class must be one of the 3 folders in train, but got 'n99'" in capsys.readouterr().err
    (tiny / 'val/val_annotations.txt').unlink()
    assert main([str(tiny)]) == 1
    assert 'val_annotations.txt is missing' in capsys.readouterr().err
    assert not (tiny / 'meta').exists()
