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
def data(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    assert digits['main'](['--data-root', str(root)]) == 0
    return root


@pytest.fixture(scope='module')
def written(data):
    return data / 'digits'


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


def test_digits_are_written_once(digits, data, capsys):
    before = fingerprint(data), (data / 'digits').stat().st_mtime_ns
    assert digits['main'](['--data-root', str(data)]) == 0
    assert capsys.readouterr().out.count('already there') == 3
    assert (fingerprint(data), (data / 'digits').stat().st_mtime_ns) == before
    for files in ('digits/val/0/*', 'digits_coco/train/*', 'digits_ade/annotations/validation/*'):
        next(data.glob(files)).unlink()
    assert digits['main'](['--data-root', str(data), '--force']) == 0
    assert fingerprint(data) == before[0]
    # Nothing is left behind.
    assert sorted(path.name for path in data.iterdir()) == ['digits', 'digits_ade', 'digits_coco']


def test_digits_do_not_touch_what_is_not_theirs(digits, tmp_path, capsys):
    mine = tmp_path / 'digits' / 'mine.txt'
    mine.parent.mkdir()
    mine.write_text('mine')
    assert digits['main'](['--data-root', str(tmp_path)]) == 2
    assert 'must be absent or hold version' in capsys.readouterr().err
    assert mine.read_text() == 'mine'


def test_digits_appear_only_as_a_whole(digits, tmp_path, monkeypatch):
    def stop(root):
        (root / 'train').mkdir()
        raise OSError('no space left')

    monkeypatch.setitem(digits['SETS'], 'classification', ('digits', stop))
    assert digits['main'](['--data-root', str(tmp_path / 'data')]) == 2
    assert list((tmp_path / 'data').iterdir()) == []


@pytest.fixture(scope='module', params=['train', 'val'])
def scenes(request, data):
    """The annotations of a split, and for each image its masks (decoded here), pixels and label map."""
    split, folder = request.param, dict(train='training', val='validation')[request.param]
    content = json.loads((data / f'digits_coco/annotations/instances_{split}.json').read_text())
    found = []
    for image in content['images']:
        own = [item for item in content['annotations'] if item['image_id'] == image['id']]
        name = Path(image['file_name'])
        files = (
            data / 'digits_coco' / split / name,
            data / 'digits_ade/images' / folder / name,
            data / 'digits_ade/annotations' / folder / name.with_suffix('.png'),
        )
        coco, ade, labels = (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files)
        assert np.array_equal(coco, ade)  # the same scenes
        assert coco.shape == (image['height'], image['width'], 3) and labels.shape == coco.shape[:2]
        found.append((own, [decode(item['segmentation']) for item in own], coco, labels))
    return split, content, found


def decode(rle):
    """Decode COCO's uncompressed RLE."""
    height, width = rle['size']
    flat = np.repeat(np.arange(len(rle['counts'])) % 2 == 1, rle['counts'])
    return flat.reshape(width, height).T


def test_scenes_are_a_varied_coco_set(scenes):
    split, content, found = scenes
    assert len(found) == dict(train=240, val=80)[split]
    assert [(item['id'], item['name']) for item in content['categories']] == [(n + 1, str(n)) for n in range(10)]
    ids = [item['id'] for item in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    sizes = [image.shape[:2] for _, _, image, _ in found]
    assert min(map(min, sizes)) >= 80 and max(map(max, sizes)) <= 128
    assert sum(height != width for height, width in sizes) > 0.9 * len(sizes)
    # 5 % of the scenes are empty, all digits are there, small and large.
    assert sum(not own for own, *_ in found) == len(found) // 20
    counts = np.bincount([item['category_id'] for item in content['annotations']], minlength=11)[1:]
    assert counts.min() > 0.05 * counts.sum()
    heights = [item['bbox'][3] for item in content['annotations']]
    assert min(heights) < 24 and max(heights) > 42


def test_boxes_are_tight_around_the_masks(scenes):
    for own, masks, *_ in scenes[2]:
        for item, mask in zip(own, masks, strict=True):
            left, top, width, height = item['bbox']
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (left + width, top + height)
            assert item['area'] == mask.sum() > 20 and item['iscrowd'] == 0


def test_scenes_show_digits_of_their_own_split(digits, scenes):
    split, content, _ = scenes
    target = load_digits().target
    own = digits['splits'](target)
    for item in content['annotations']:
        assert own[item['source']] == split
        assert target[item['source']] == item['category_id'] - 1


def test_label_maps_agree_with_the_masks(scenes):
    """0 = unlabelled, 1 = background, 2 to 11 = the digits 0 to 9."""
    for own, masks, _, labels in scenes[2]:
        again = np.where(labels == 0, 0, 1)
        for item, mask in zip(own, masks, strict=True):
            assert (again[mask] == 1).all()  # masks do not overlap
            again[mask] = item['category_id'] + 1
        assert np.array_equal(labels, again)


def test_soft_edges_are_unlabelled(scenes):
    """Nearly everywhere there is something unlabelled between a digit and the background, and not elsewhere."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    around, unlabelled, near = 0, 0, 0
    for own, _, _, labels in scenes[2]:
        digit = (labels > 1).astype(np.uint8)
        ring = labels[(cv2.dilate(digit, cross) - digit) == 1]
        around, unlabelled = around + ring.size, unlabelled + (ring == 0).sum()
        near += (labels[cv2.dilate(digit, cross, iterations=4) == 1] == 0).sum()
        assert own or (labels == 1).all()
    assert unlabelled > 0.8 * around
    assert near > 0.95 * sum((labels == 0).sum() for *_, labels in scenes[2])


def test_digits_stand_out_from_a_busy_background(scenes):
    """Not trivial: the background is textured, and often as bright as some digits."""
    contrast, texture = [], []
    for own, _, image, labels in scenes[2]:
        grey = image.mean(2)
        texture.append(grey[labels == 1].std())
        contrast.extend(grey[labels == item['category_id'] + 1].mean() - grey[labels == 1].mean() for item in own)
    assert min(texture) > 8 and min(contrast) > 10
    assert np.median(contrast) > 60


@pytest.mark.parametrize(
    ('library', 'base', 'classes'), [('mmdet', 'digits-coco_bs8', 10), ('mmseg', 'digits-ade_bs8_96', 11)]
)
def test_scenes_are_read_by_their_configs(data, library, base, classes):
    from mmengine.config import Config
    from mmengine.registry import DATASETS, init_default_scope

    pytest.importorskip(library)
    cfg = Config.fromfile(CONVERTERS.parents[1] / f'configs/_base_/datasets/{base}.py')
    init_default_scope(library)
    for split, count in (('train', 240), ('val', 80)):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset = DATASETS.build(dict(dataset, data_root=str(data / Path(dataset.data_root).name)))
        assert len(dataset) == (228 if (library, split) == ('mmdet', 'train') else count)  # mmdet leaves out empty ones
        assert len(dataset.metainfo['classes']) == classes
        sample = dataset[0]['data_samples']
        if library == 'mmdet':
            masks = sample.gt_instances.masks.masks
            boxes = sample.gt_instances.bboxes.tensor.numpy()
            assert len(masks) == len(boxes) > 0
            for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
                assert mask.sum() > 20
                mask[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = 0
                assert mask.sum() == 0  # all within the box
        else:
            found = sample.gt_sem_seg.data.unique().tolist()
            assert found[0] == 0 and found[-1] == 255 and len(found) > 2 and found[-2] < classes


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
    assert main([str(tiny)]) == 2
    assert "line 2: the class must be one of the 3 folders in train, but got 'n99'" in capsys.readouterr().err
    (tiny / 'val/val_annotations.txt').unlink()
    assert main([str(tiny)]) == 2
    assert 'val_annotations.txt is missing' in capsys.readouterr().err
    assert not (tiny / 'meta').exists()


@pytest.fixture
def imagenet(tmp_path):
    for name, count in (('n02', 30), ('n01', 4)):
        (tmp_path / 'train' / name).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(tmp_path / f'train/{name}/{name}_{index}.JPEG'), np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_subsets_of_imagenet(imagenet):
    main = runpy.run_path(str(CONVERTERS / 'imagenet_subset.py'))['main']

    def lines(*args):
        assert main([str(imagenet), *args]) == 0
        return [(imagenet / f'meta/train_{share}percent.txt').read_text().split('\n')[:-1] for share in (1, 10)]

    one, ten = lines()
    assert [line.split()[1] for line in one] == ['0', '1'] and len(ten) == 1 + 3
    assert set(one) <= set(ten) and all((imagenet / 'train' / line.split()[0]).is_file() for line in ten)
    assert lines() == [one, ten] != lines('--seed', '1')
    (imagenet / 'published.txt').write_text('n02_7.JPEG\nn01_2.JPEG\n')
    names = ['--names', str(imagenet / 'published.txt'), '--percent', '1']
    assert lines(*names)[0] == ['n02/n02_7.JPEG 1', 'n01/n01_2.JPEG 0']

    from mmengine.config import Config
    from mmengine.registry import DATASETS, init_default_scope

    init_default_scope('mmpretrain')
    path = CONVERTERS.parents[1] / 'configs/mixmask/resnet50_mixmask-mocov2-pre_8xb32-steplr-20e_in1k-1pct.py'
    train = DATASETS.build(dict(Config.fromfile(path).train_dataloader.dataset, data_root=str(imagenet), pipeline=[]))
    assert [(train[i]['img_path'], train[i]['gt_label']) for i in range(2)] == [
        (str(imagenet / 'train/n02/n02_7.JPEG'), 1),
        (str(imagenet / 'train/n01/n01_2.JPEG'), 0),
    ]


def test_subsets_of_imagenet_name_what_is_wrong(imagenet, capsys):
    main = runpy.run_path(str(CONVERTERS / 'imagenet_subset.py'))['main']
    assert main([str(imagenet / 'train')]) == 2
    assert 'must hold training images in train/CLASS/' in capsys.readouterr().err
    assert main([str(imagenet), '--percent', '0']) == 2
    assert '--percent must be in (0, 100], but got 0' in capsys.readouterr().err
    (imagenet / 'published.txt').write_text('n03_1.JPEG\n')
    assert main([str(imagenet), '--percent', '1', '--names', str(imagenet / 'published.txt')]) == 2
    assert "1 are not there, such as 'n03_1.JPEG'" in capsys.readouterr().err
    assert not (imagenet / 'meta').exists()
