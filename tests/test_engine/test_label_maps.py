# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Label maps of every kind, photos that are turned, images that nobody reads: segmentation, and sizes in detection."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

from mmmaskany.datasets.loaded_size import check_loaded_size
from mmmaskany.engine.checks.coco import check_coco
from mmmaskany.engine.checks.label_maps import check_segmentation
from mmmaskany.engine.checks.sizes import Loading, loading_of

IDS = np.array([[0, 1, 1, 1, 0, 0]] * 4, np.uint8)


@pytest.fixture
def maps(tmp_path):
    """Three images and label maps: ``maps(b=..., **options)`` replaces the second and returns the findings' texts."""
    seg = pytest.importorskip('mmseg.datasets')
    (tmp_path / 'images').mkdir()
    (tmp_path / 'maps').mkdir()
    for name in 'abc':
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), np.zeros((4, 6, 3), np.uint8))
        Image.fromarray(IDS).save(tmp_path / f'maps/{name}.png')

    def look(every=None, level=None, **options):
        for name in 'abc' if every is not None else ():
            Image.fromarray(np.array(every, np.uint8)).save(tmp_path / f'maps/{name}.png')
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images', seg_map_path='maps'),
            metainfo=dict(classes=('road', 'sky')),
        )
        survey = check_segmentation('train', ConfigDict(dict(dataset, **options)), seg.BaseSegDataset)
        look.survey = survey
        return [str(finding) for finding in survey.findings if level in (None, finding.level)]

    look.folder = tmp_path
    return look


def test_good_maps(maps):
    assert maps() == []
    assert maps.survey.counts == dict(road=3, sky=3)
    assert maps([[0, 1, 2, 255, 1, 2]] * 4, reduce_zero_label=True) == []
    assert maps([[0, 1, 255, 255, 1, 0]] * 4) == []


def test_0_and_255(maps):
    (text,) = maps([[0, 255, 255, 0, 0, 0]] * 4)
    assert 'all 3 hold 0 and 255 alone, and 255 is ignored' in text and 'write 1' in text
    assert maps(level='warning', test_mode=True)  # an evaluation may look at one class alone
    assert 'write 1' in maps(ignore_index=7)[0]
    (text,) = maps([[0, 255, 255, 1, 0, 0]] * 4, metainfo=dict(classes=('road', 'sky', 'car')))
    assert "1 of 3 classes never occur in the 3 label maps: car. 255 does, and is ignored: if it means 'car'" in text


def test_0_and_1_with_reduce_zero_label(maps):
    (text,) = maps(reduce_zero_label=True)
    assert "all 3 hold 'road' alone (ids 0, 1): reduce_zero_label=True ignores 0" in text
    (text,) = maps([[0, 1, 2, 0, 0, 0]] * 4, metainfo=dict(classes=('road', 'sky', 'car')), reduce_zero_label=True)
    assert "1 of 3 classes never occur in the 3 label maps: car. If 0 is 'road' and not unlabelled" in text
    assert 'hold 255 alone, which is ignored' in maps([[255] * 6] * 4)[0]
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]
    assert 'must be the same, but are False and True' in maps(IDS, pipeline=steps)[0]


def test_one_class_alone_is_said_of_what_was_read(maps, monkeypatch):
    assert maps([[1] * 6] * 4, level='error')
    monkeypatch.setattr('mmmaskany.engine.checks.label_maps.SECONDS', -1)
    assert maps(level='error') == [] and 'all 1 that were looked at' in maps(level='warning')[0]


def test_classes_that_never_occur(maps):
    (text,) = maps(level='note', metainfo=dict(classes=tuple('abcd')))
    assert '2 of 4 classes never occur in the 3 label maps: c, d' in text


@pytest.mark.parametrize(
    ('kind', 'suffix', 'text'),
    [
        ('P', '.png', None),
        ('1', '.png', None),
        ('I;16', '.png', None),
        ('RGB', '.png', r'loaded as colours: .*b.png (RGB, of three equal channels): write a map of one channel'),
        ('RGBA', '.png', 'b.png (RGBA'),
        ('LA', '.png', 'b.png (LA)'),
        ('L', '.jpg', '1 of 3 are JPEG, which changes ids'),
        ('deep', '.png', '300 to 44'),
        ('F', '.tif', '0.5 to 0'),
        ('broken', '.png', 'label maps must be images'),
        ('large', '.png', 'must have the size that its label map gives'),
        ('id', '.png', 'must hold the ids of 2 classes, 0 to 1, but holds 9'),
    ],
)
def test_file_types_of_label_maps(maps, kind, suffix, text):
    for name in 'abc':
        (maps.folder / f'maps/{name}.png').rename(maps.folder / f'maps/{name}{suffix}')
        if suffix != '.png':
            Image.fromarray(IDS).save(maps.folder / f'maps/{name}{suffix}', format='PNG')
    path = maps.folder / f'maps/b{suffix}'
    if kind == 'P':
        image = Image.fromarray(IDS, 'P')
        image.putpalette([0, 0, 0, 200, 100, 50] * 3)
        image.save(path)
    elif kind == '1':
        Image.fromarray(IDS.astype(bool)).save(path)
    elif kind in ('I;16', 'deep'):
        Image.fromarray(IDS.astype(np.uint16) * (300 if kind == 'deep' else 1)).save(path)
    elif kind == 'F':
        Image.fromarray(IDS.astype(np.float32) / 2).save(path)
    elif kind == 'broken':
        path.write_bytes(b'no image')
    elif kind in ('large', 'id'):
        Image.fromarray(np.ones((9, 9), np.uint8) if kind == 'large' else IDS * 9).save(path)
    else:
        Image.fromarray(IDS).convert(kind).save(path)
    found = maps(seg_map_suffix=suffix)
    if text is None:
        assert found == []
        assert maps.survey.counts == dict(road=3, sky=3)
    else:
        assert len(found) == 1 and all(part in found[0] for part in text.split('.*')), found


@pytest.mark.parametrize(
    ('kind', 'advice'),
    [('P', "'pillow' of LoadAnnotations reads the ids of a palette"), ('1', 'reads maps of one bit')],
)
def test_a_backend_that_changes_ids(maps, kind, advice):
    image = Image.fromarray(IDS, 'P') if kind == 'P' else Image.fromarray(IDS.astype(bool))
    if kind == 'P':
        image.putpalette([0, 0, 0, 200, 100, 50] * 3)
    image.save(maps.folder / 'maps/b.png')
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', imdecode_backend='cv2')]
    assert advice in maps(pipeline=steps)[0]


def test_images_that_are_not_read(maps):
    for name in ('d.webp', 'e.tif', 'f.JPG'):
        Image.new('RGB', (6, 4)).save(maps.folder / 'images' / name)
    (text,) = maps()
    assert (
        '3 of 6 images in' in text and "img_suffix is '.jpg'" in text and '1 .webp' in text and 'd.webp, e.tif' in text
    )
    (text,) = maps(img_suffix='.jpeg')
    assert 'must hold images *.jpeg, but holds none; it holds 3 .jpg' in text
    (maps.folder / 'list.txt').write_text('a\nb\n')
    assert maps(ann_file='list.txt') == []  # who lists images leaves others out
    (text,) = maps(seg_map_suffix='_labels.png', level='error')
    assert '3 are missing' in text


# ---------------------------------------------------------------------- orientation and depth


def photo(path, orientation, size=(60, 40)):
    image = Image.fromarray(np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)


def coco_set(tmp_path, width, height, names='a'):
    content = dict(
        images=[dict(id=i, file_name=f'{name}.jpg', width=width, height=height) for i, name in enumerate(names)],
        annotations=[dict(id=7, image_id=0, category_id=1, bbox=[1, 1, 20, 20], area=400, iscrowd=0)],
        categories=[dict(id=1, name='cat')],
    )
    (tmp_path / 'set.json').write_text(json.dumps(content))
    return 'train', tmp_path / 'set.json', tmp_path, ['cat']


@pytest.mark.parametrize(
    ('orientation', 'size', 'color_type', 'level', 'text'),
    [
        (
            6,
            (60, 40),
            'color',
            'error',
            'set.json gives the size as stored: .*a.jpg is 40 x 60 px and annotated as 60 x 40',
        ),
        (8, (60, 40), 'color', 'error', 'color_ignore_orientation'),
        (6, (60, 40), 'color_ignore_orientation', None, None),
        (6, (40, 60), 'color', None, None),
        (6, (40, 60), 'color_ignore_orientation', 'error', "color_type='color' turns them"),
        (3, (60, 40), 'color', 'warning', '1 of 1 images are turned by half or mirrored .*color_ignore_orientation'),
        (3, (60, 40), 'color_ignore_orientation', None, None),
        (1, (60, 40), 'color', None, None),
        (
            1,
            (30, 20),
            'color',
            'error',
            'what is annotated lies elsewhere: .*a.jpg is 60 x 40 px and annotated as 30 x 20',
        ),
    ],
)
def test_photos_that_are_turned(tmp_path, orientation, size, color_type, level, text):
    photo(tmp_path / 'a.jpg', orientation)
    survey = check_coco(*coco_set(tmp_path, *size), loading=Loading(color_type))
    if text is None:
        assert survey.findings == []
    else:
        (finding,) = survey.findings
        assert finding.level == level and all(part in finding.text for part in text.split('.*')), finding


def test_photos_and_label_maps(maps):
    photo(maps.folder / 'images/b.jpg', 8, (6, 4))
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    (text,) = maps(pipeline=steps)
    assert (
        '1 of 3 images are turned when they are loaded' in text and 'b.jpg is 4 x 6 px and annotated as 6 x 4' in text
    )
    steps[0]['color_type'] = 'color_ignore_orientation'
    assert maps(pipeline=steps) == []


def test_sixteen_bits_and_what_opencv_cannot_read(tmp_path):
    deep = np.full((40, 60), 4000, np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), deep)
    arguments = coco_set(tmp_path, 60, 40)
    arguments[1].write_text(arguments[1].read_text().replace('a.jpg', 'a.png'))
    (finding,) = check_coco(*arguments).findings
    assert finding.level == 'warning' and 'uint16' in finding.text and '4000, becomes 15 of 255' in finding.text
    Image.new('RGB', (60, 40)).save(tmp_path / 'a.png', format='PCX')
    found = check_coco(*arguments).findings
    assert found[-1].level == 'error' and "imdecode_backend='pillow' of LoadImageFromFile reads PCX" in found[-1].text
    assert check_coco(*arguments, loading=Loading(backend='pillow')).findings == []


def test_loading_is_read_from_the_pipeline():
    assert loading_of([dict(type='mmcv.LoadImageFromFile', color_type='unchanged')]) == Loading('unchanged', 'cv2')
    assert loading_of([dict(type='LoadMultiChannelImageFromFiles')]) is None and loading_of(None) is None


def test_sizes_are_compared_when_images_are_loaded(tmp_path):
    good = dict(ori_shape=(40, 60), height=40, width=60)
    assert check_loaded_size(good) is good
    check_loaded_size(dict(good, height=0, width=0))  # a VOC file may give none
    with pytest.raises(
        ValueError, match=r"annotation, 40 x 60 px, but is loaded with 60 x 40\. .*'color_ignore_orient"
    ):
        check_loaded_size(dict(good, height=60, width=40))
    with pytest.raises(ValueError, match='but is loaded with 60 x 40$'):
        check_loaded_size(dict(good, height=80, width=120))
    with pytest.raises(ValueError, match='size of its label map b.png, 6 x 4 px'):
        check_loaded_size(dict(ori_shape=(6, 4), gt_seg_map=np.zeros((4, 6)), seg_map_path='b.png'))


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_a_turned_photo_ends_the_run_with_its_name(library, tmp_path):
    pytest.importorskip(library)
    from mmengine.registry import init_default_scope

    from mmmaskany.engine.seeding.dataset import SeededDataset

    init_default_scope(library)
    if library == 'mmdet':
        photo(tmp_path / 'a.jpg', 6)
        coco_set(tmp_path, 60, 40)
        steps = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs'),
        ]
        dataset = dict(
            type='CocoDataset', ann_file='set.json', metainfo=dict(classes=('cat',)), data_prefix=dict(img='')
        )
    else:
        photo(tmp_path / 'a.jpg', 6)
        Image.fromarray(np.ones((40, 60), np.uint8)).save(tmp_path / 'a.png')
        steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
        dataset = dict(
            type='BaseSegDataset', metainfo=dict(classes=('a', 'b')), data_prefix=dict(img_path='', seg_map_path='')
        )
    config = dict(type='RepeatDataset', times=2, dataset=dict(dataset, data_root=str(tmp_path), pipeline=steps))
    with pytest.raises(ValueError, match=r'a\.jpg gave ValueError: an image must have the size .* 60 x 40 px'):
        SeededDataset(config)[0]
    steps[0]['color_type'] = 'color_ignore_orientation'
    SeededDataset(config)[0]


def test_maps_that_lose_ids_end_the_run_when_they_are_loaded(tmp_path):
    """The check before a run may have missed them."""

    def load(name, ids):
        cv2.imwrite(str(tmp_path / name), ids)
        check_loaded_size(dict(ori_shape=(4, 6), gt_seg_map=ids, seg_map_path=str(tmp_path / name)))

    small = np.full((4, 6), 3, np.uint8)
    load('a.png', small)
    load('a.png', small.astype(np.uint16))
    load('a.png', np.array([[65535, 7]] * 12, np.uint16).reshape(4, 6))  # 65535 becomes 255, which is ignored
    with pytest.raises(ValueError, match=r'without loss, but .*a\.jpg is JPEG'):
        load('a.jpg', small)
    with pytest.raises(ValueError, match=r'0 to 255, but .*a\.png has 16 bits and holds 300'):
        load('a.png', np.full((4, 6), 300, np.uint16))
    check_loaded_size(dict(ori_shape=(4, 6), gt_seg_map=small, seg_map_path='s3://elsewhere/a.png'))
