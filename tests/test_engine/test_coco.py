# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Each field of COCO's format that mmdet and pycocotools read: missing, of another type, twice, impossible."""

import json
import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config, ConfigDict

from mmmaskany.datasets import coco_reader
from mmmaskany.engine.checks.coco import check_coco
from mmmaskany.engine.checks.data import check_data, check_dataset

POLYGON = [[50, 30, 59, 30, 59, 39]]


@pytest.fixture
def coco(tmp_path):
    """Two images and their annotations: ``coco(**lists)`` returns the arguments of check_coco."""
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))

    def write(**lists):
        content = dict(
            images=[image(i, file_name=f'{name}.png') for i, name in enumerate('ab')],
            annotations=[box(7, [50, 30, 10, 10]), box(8, [5, 5, 20, 20], category_id=5)],
            categories=[dict(id=0, name='cat'), dict(id=5, name='dog')],
        )
        content.update(lists)
        (tmp_path / 'set.json').write_text(json.dumps(content))
        return 'train', tmp_path / 'set.json', tmp_path

    return write


def image(number, **changes):
    item = dict(dict(id=number, file_name='a.png', width=60, height=40), **changes)
    return {name: value for name, value in item.items() if value != 'absent'}


def box(number, bbox=(5, 5, 20, 20), **changes):
    item = dict(id=number, image_id=0, category_id=0, bbox=list(bbox), area=100, iscrowd=0)
    item.update(changes)
    return {name: value for name, value in item.items() if value != 'absent'}


def boxes(*many, **changes):
    return [box(i + 1, bbox, **changes) for i, bbox in enumerate(many)]


def look(arguments, classes=('cat', 'dog'), level=None, **options):
    found = check_coco(*arguments, classes, **options).findings
    return [str(finding) for finding in found if level in (None, finding.level)]


def test_good_sets_give_no_finding(coco):
    assert look(coco()) == []
    assert look(coco(), None) == []
    assert (
        look(coco(annotations=[box(7, [-0.5, -0.5, 61, 41]), box(8, category_id=5)])) == []
    )  # COCO's own are as far off
    assert look(coco(), masks=False, filter_cfg=dict(filter_empty_gt=False, min_size=32)) == []
    images = [image('one'), image('two', file_name='b.png')]  # ids may be texts, and numbers whole floats in the json
    assert (
        look(
            coco(images=images, annotations=boxes([5, 5, 20.0, 20.5], [1, 1, 9, 9], image_id='one')), ['cat', 'dog'][:1]
        )
        == []
    )


def test_names_with_folders_and_absolute_ones(coco, tmp_path):
    (tmp_path / 'deep/er').mkdir(parents=True)
    (tmp_path / 'a.png').rename(tmp_path / 'deep/er/a.png')
    good = [image(0, file_name='deep/er/a.png'), image(1, file_name=str(tmp_path / 'b.png'))]
    assert look(coco(images=good)) == []
    (text,) = look(coco(images=[image(0, file_name=r'deep\er\a.png')]), level='error')
    assert '1 are missing' in text and "divided by '/'" in text
    (text,) = look(coco(images=[image(0, file_name='b.jpg')]), level='error')
    assert text.endswith('holds b.png')


@pytest.mark.parametrize(
    ('lists', 'text'),
    [
        (dict(images={}), 'has no list of images'),
        (dict(annotations=None), 'has no list of annotations'),
        (dict(images=[]), 'must list images'),
        (dict(annotations=[3]), 'must be a list of dicts, but one is 3'),
        (dict(images=[image('absent')]), "images must have 'id'"),
        (dict(images=[image(None)]), "'id' of images must be a number or a text"),
        (dict(images=[image([0])]), "image 'a.png' has [0]"),
        (dict(images=[image(True)]), 'has True'),
        (dict(images=[image(0), image(0, file_name='b.png')]), 'images must each have another id'),
        (dict(images=[image(0, file_name='absent')]), "images must have 'file_name'"),
        (dict(images=[image(0, file_name=3)]), "'file_name' of images must be a text"),
        (dict(images=[image(0, file_name='')]), 'must not be empty'),
        (dict(images=[image(0, width='absent')]), "images must have 'width'"),
        (dict(images=[image(0, height='40')]), "image 0 has '40'"),
        (dict(images=[image(0, height=None)]), "'height' of images must be a number"),
        (dict(images=[image(0, height=0)]), 'a.png has 60 x 0 px'),
        (dict(images=[image(0, height=-40)]), 'images must have a size'),
        (dict(images=[image(0, height=float('nan'))]), 'images must have a size'),
        (dict(images=[image(0, width=30)]), 'a.png is 60 x 40 px and annotated as 30 x 40'),
        (dict(categories=[dict(id=0)]), "categories must have 'name'"),
        (dict(categories=[dict(name='cat')]), "categories must have 'id'"),
        (dict(categories=[dict(id=0, name='cat'), dict(id=0, name='dog')]), 'categories must each have another id'),
        (
            dict(categories=[dict(id=0, name='cat'), dict(id=1, name='cat'), dict(id=5, name='dog')]),
            "categories must each have another name in .*, but 1 does not: 'cat'; mmdet would number",
        ),
        (dict(categories=[dict(id=0, name='Cat'), dict(id=5, name='dog')]), "Cat, dog, but got cat: .*'cat' is near"),
        (
            dict(categories=[dict(id=5, name='dog'), dict(id=0, name='cat')]),
            r"must be in the order of .*, dog, cat, but got cat, dog: .*classes=\('dog', 'cat'\)",
        ),
        (dict(annotations=[]), 'must have annotations, but has none'),
        (
            dict(annotations=[box('absent')]),
            "annotations must have 'id' in .*, but 1 does not: the annotation at place 0",
        ),
        (dict(annotations=[box(7), box(7)]), 'annotations must each have another id in .*: 7'),
        (dict(annotations=[box({})]), "'id' of annotations must be"),
        (dict(annotations=[box(7, image_id='absent')]), "annotations must have 'image_id'"),
        (
            dict(annotations=[box(7), box(8, image_id=3)]),
            'must belong to an image in .*, but 1 does not: annotation 8 bel',
        ),
        (
            dict(annotations=[box(7, image_id='0')]),
            "annotation 7 belongs to '0'; numbers and texts are not the same id",
        ),
        (dict(annotations=[box(7, category_id='absent')]), "annotations must have 'category_id'"),
        (
            dict(annotations=[box(7, category_id=9)]),
            'must belong to a category in .*: annotation 7 belongs to 9; there are 0, 5',
        ),
        (dict(annotations=[box(7, category_id='5')]), 'numbers and texts are not the same id'),
        (dict(annotations=[box(7, bbox=[])]), 'boxes must be four numbers, .*: annotation 7 has'),
        (dict(annotations=[dict(id=7, image_id=0, category_id=0)]), "annotations must have 'bbox'"),
        (dict(annotations=[box(7, ['5', 5, 9, 9])]), r"annotation 7 has \['5', 5, 9, 9\]"),
        (dict(annotations=[box(7, [[5], 5, 9, 9])]), 'boxes must be four numbers'),
        (dict(annotations=[box(7, [5, 5, 9, float('nan')])]), 'boxes must be finite'),
        (
            dict(annotations=boxes([60, 0, 9, 9], [9, 9, 9, 9], [30, 9, 9, 9])),
            r'lie in their image .*\[60, 0, 9, 9\] on a.png, 60 x 40',
        ),
        (dict(annotations=boxes([0, -10, 10, 10], [9, 9, 9, 9], [30, 9, 9, 9])), 'must lie in their image'),
        (
            dict(annotations=boxes([0.1, 0.1, 0.5, 0.5], [0.5, 0.2, 0.1, 0.2])),
            'in pixels and not in shares .*, but 2 do not',
        ),
        (
            dict(annotations=boxes([5, 5, 58, 38], [20, 10, 50, 39], [9, 9, 20, 20])),
            r'look like \[x1, y1, x2, y2\]: 2 of 3',
        ),
        (
            dict(annotations=boxes([5, 5, 0, 9], [5, 5, 9, 0], [9, 9, 20, 20])),
            '2 of 3 boxes have no area and are left out',
        ),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd=1)), 'all 1 have iscrowd=1'),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd='yes')), "'iscrowd' of annotations must be 0 or 1 .* has 'yes'"),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd=-1)), 'must be 0 or 1'),
        (dict(annotations=boxes([5, 5, 9, 9], ignore=1)), "1 of 1 annotations have 'ignore'"),
    ],
)
def test_fields_that_make_a_training_wrong(coco, lists, text):
    errors = look(coco(**lists), level='error')
    assert any(re.search(text, error.replace('\n', ' ')) or text in error for error in errors), errors


@pytest.mark.parametrize(
    ('lists', 'level', 'text'),
    [
        (
            dict(annotations=[box(1), *boxes([50, 30, 20, 20], [1, 1, 9, 9])[1:]]),
            'warning',
            '1 of 2 classes have no object',
        ),
        (dict(annotations=boxes([5, 5, 30, 30], [50, 30, 20, 20])), 'warning', '1 of 2 boxes reach over the edge'),
        (dict(annotations=boxes([5, 5, 0, 9], [5, 5, 9, 9])), 'warning', '1 of 2 boxes have no area'),
        (dict(annotations=boxes([5, 5, 0.5, 9], [5, 5, 9, 9])), 'warning', '1 of 2 boxes are smaller than a pixel'),
        (
            dict(annotations=boxes([5, 5, 9, 9], area='absent')),
            'note',
            '1 of 1 annotations .* no area that can be: the area',
        ),
        (dict(annotations=boxes([5, 5, 9, 9], area=0)), 'note', 'no area that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], area='81')), 'note', 'no area that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], area=None)), 'note', 'no area that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], area=float('nan'))), 'note', 'no area that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd='absent')), 'note', 'no iscrowd that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd=None)), 'note', 'no iscrowd that can be'),
        (dict(annotations=boxes([5, 5, 9, 9], iscrowd='0')), 'note', 'no iscrowd that can be'),
        (dict(images=[image(0), image(1)]), 'warning', 'images must each be listed once .*: a.png'),
        (dict(images=[image(0)]), 'note', '1 images in .* are not in .*, 1 .png: b.png'),
    ],
)
def test_what_is_said_and_borne(coco, lists, level, text):
    arguments = coco(**lists)
    assert look(arguments, level='error') == []
    found = look(arguments, level=level)
    assert any(re.search(text, one) for one in found), found


def test_images_that_mmdet_leaves_out(coco):
    said = look(coco(), filter_cfg=dict(filter_empty_gt=True, min_size=32), level='note')
    assert (
        '1 of 2 images' in said[0] and 'have no object and are left out (filter_cfg.filter_empty_gt): b.png' in said[0]
    )
    (text,) = look(coco(), filter_cfg=dict(min_size=64), level='error')
    assert 'all 2 of' in text and 'left out by filter_cfg' in text


def test_categories_that_are_no_classes(coco):
    (text,) = look(coco(), ['dog'], level='note')
    assert '1 annotations' in text and 'are of categories that are no classes: cat (1)' in text
    (text,) = look(coco(annotations=boxes([5, 5, 9, 9])), ['dog'], level='error')
    assert 'must have annotations of its classes, dog, but has none' in text


def test_survey_counts_what_is_learnt(coco):
    survey = check_coco(*coco(annotations=[*boxes([5, 5, 9, 9], [5, 5, 9, 9]), box(3, iscrowd=1), box(4, area=0)]))
    assert survey.counts == dict(cat=3, dog=0)
    assert survey.facts['objects'] == '3 of 4 annotations' and survey.facts['images'] == '2'


@pytest.mark.parametrize(
    ('segmentation', 'text'),
    [
        ('absent', "must have a 'segmentation' where masks are learnt"),
        ([], "must have a 'segmentation' where masks are learnt"),
        (None, "must have a 'segmentation' where masks are learnt"),
        ('text', 'must be a list of polygons, or a dict'),
        ([50, 30, 59, 30, 59, 39], 'even one polygon stands in a list'),
        ([[50, 30, 59, 30]], 'no polygon of three or more points and are left out'),
        ([[50, 30, 59, 30, 59, 39, 1]], 'no polygon of three or more points'),
        ([['50', 30, 59, 30, 59, 39]], 'points of polygons must be numbers'),
        ([[50, 30, 59, 30, 59, float('nan')]], 'points of polygons must be finite'),
        ([[0.8, 0.7, 0.9, 0.7, 0.9, 0.9]], 'in pixels and not in shares'),
        ([[70, 30, 79, 30, 79, 39]], 'polygons must lie in their image'),
        (dict(counts=[100, 2300]), "run lengths must have a 'size' and 'counts'"),
        (dict(size=[40, 60]), "run lengths must have a 'size' and 'counts'"),
        (dict(size=[60, 40], counts=[100, 2300]), r"'size' of run lengths .* has \[60, 40\] for \[40, 60\]"),
        (dict(size=[40, 60], counts=[100, 300]), "'counts' that add up to it"),
        (dict(size=[40, 60], counts=[2500, -100]), "'counts' that add up to it"),
        (dict(size=[40, 60], counts=''), 'run lengths must'),
    ],
)
def test_masks(coco, segmentation, text):
    arguments = coco(annotations=[box(7, [50, 30, 9, 9], segmentation=segmentation)])
    errors = look(arguments, masks=True, level='error')
    assert any(re.search(text, error) for error in errors), errors
    assert look(arguments, level='error') == []  # boxes alone


@pytest.mark.parametrize(
    'segmentation',
    [POLYGON, [[1, 1], *POLYGON], dict(size=[40, 60], counts=[100, 2300]), dict(size=[40, 60], counts='T3:Q')],
)
def test_masks_that_are_good(coco, segmentation):
    if isinstance(segmentation, dict) and isinstance(segmentation['counts'], str):
        import pycocotools.mask as mask_utils

        encoded = mask_utils.encode(np.asfortranarray(np.eye(40, 60, dtype=np.uint8)))
        segmentation = dict(size=encoded['size'], counts=encoded['counts'].decode())
    arguments = coco(annotations=[box(7, [50, 30, 9, 9], segmentation=segmentation)])
    assert look(arguments, ['cat'], masks=True) == []


def test_boxes_must_enclose_their_polygons(coco):
    centres = [box(i, [30, 20, 20, 20], segmentation=[[20, 10, 40, 10, 40, 30, 20, 30]]) for i in range(1, 8)]
    (text,) = look(coco(annotations=centres), level='error')
    assert 'must enclose their polygons' in text and 'polygon from [20.0, 10.0] to [40.0, 30.0]' in text


def test_file_that_is_no_json(coco):
    arguments = coco()
    arguments[1].write_text('{"images": [')
    assert 'must be a JSON file' in look(arguments)[0]
    arguments[1].write_text('[]')
    assert 'has no list of images, annotations, categories' in look(arguments)[0]
    (arguments[2] / 'b.png').write_bytes(b'')
    assert 'must not be empty, but 1 are' in look(coco())[0]
    (arguments[2] / 'b.png').write_bytes(b'no image')
    assert any('must be images that cv2 reads, but 1 of 2 images are not' in text for text in look(coco()))


def test_test_sets_may_have_no_annotations(coco):
    arguments = coco()
    content = json.loads(arguments[1].read_text())
    del content['annotations']
    arguments[1].write_text(json.dumps(content))
    assert look(arguments, test_mode=True, level='error') == []
    assert 'there is nothing to evaluate on' in look(arguments, test_mode=True)[0]


# ---------------------------------------------------------------------- through mmdet


def dataset_config(tmp_path, **changes):
    files = dict(data_root=str(tmp_path), ann_file='set.json', data_prefix=dict(img=''))
    files['metainfo'] = dict(classes=('cat', 'dog'))
    return ConfigDict(dict(type='CocoDataset', **files), **changes)


def test_dataset_of_mmdet(coco, tmp_path):
    maker = pytest.importorskip('mmdet.datasets').CocoDataset
    coco()

    def texts(**changes):
        return [str(finding) for finding in check_dataset('train', dataset_config(tmp_path, **changes), maker).findings]

    assert texts() == []
    assert "data_prefix must have 'img'" in texts(data_prefix=dict(img_path=''))[0]
    assert "got the text 'ship': write ('ship',), with a comma" in texts(metainfo=dict(classes='ship'))[0]
    assert 'must hold each name once, but has cat' in texts(metainfo=dict(classes=('cat', 'cat')))[0]
    assert "'cat', 'dog', but got 7" in texts(metainfo=dict(classes=('cat', 7)))[0]
    assert 'but got person, bicycle' in texts(metainfo=None)[0]
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    assert texts(metainfo=dict(classes=str(tmp_path / 'names.txt'))) == []
    with_mask = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True)]
    assert "must have a 'segmentation'" in texts(pipeline=with_mask)[0]
    assert texts(backend_args=dict(backend='petrel'), metainfo=dict(classes='ship')) == []  # not on this machine


def test_panoptic_maps_are_there(coco, tmp_path):
    maker = pytest.importorskip('mmdet.datasets').CocoPanopticDataset
    parts = [
        dict(id=number, category_id=category, bbox=[5, 5, 20, 20], area=100, iscrowd=0)
        for number, category in ((7, 0), (70_000, 5))
    ]
    images = [image(0, file_name='a.jpg'), image(1, file_name='b.jpg')]
    categories = [dict(id=0, name='cat', isthing=1), dict(id=5, name='dog', isthing=0)]
    config = dataset_config(tmp_path, data_prefix=dict(img='', seg='maps'), metainfo=dict(classes=('cat', 'dog')))
    ids = np.zeros((40, 60), np.int64)
    ids[:20, :20], ids[20:, :20] = 7, 70_000
    (tmp_path / 'maps').mkdir()

    def write(name, ids, order=(2, 1, 0)):  # OpenCV writes B, G, R
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1)[..., order]
        cv2.imwrite(str(tmp_path / 'maps' / f'{name}.png'), colours.astype(np.uint8))

    def found(parts=parts, **lists):
        items = [dict(image_id=i, file_name=f'{"ab"[i]}.png', segments_info=parts) for i in (0, 1)]
        coco(**{'images': images, 'annotations': items, 'categories': categories, **lists})
        findings = check_dataset('train', config, maker).findings
        return [(one.level, str(one)) for one in findings if one.level != 'note']  # maps lie below the images

    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), np.zeros((40, 60, 3), np.uint8))
        (tmp_path / f'{name}.png').unlink()
    write('a', ids)
    ((level, text),) = found()
    assert level == 'error' and '1 are missing' in text and text.endswith('maps/b.png')
    write('b', ids)
    assert found() == []

    # Segments without pixels, and pixels without a segment.
    write('b', np.where(ids == 7, 9, ids))
    (level, text), (_, other) = found()
    assert level == 'warning' and f'of 2, lack 1 of 4 segments: segment 7 of {tmp_path}/maps/b.png' in text
    assert 'but 25.0 % in the maps' in other and other.endswith(f'id 9 of {tmp_path}/maps/b.png')
    for name in 'ab':
        write(name, ids, (0, 1, 2))
    levels, texts = zip(*found(), strict=True)
    assert levels == ('error', 'error') and 'lack 4 of 4 segments' in texts[0] and 'With R and B exchanged' in texts[0]
    for name in 'ab':
        cv2.imwrite(str(tmp_path / 'maps' / f'{name}.png'), np.where(ids == 7, 7, 0).astype(np.uint8))
    _, (level, text), (_, other) = found(parts[:1])  # the first says that there is no dog
    assert level == 'error' and 'They are gray values' in text
    assert f'100.0 % in the maps, of 2, are of others and are ignored: id {7 * 65793} of' in other

    # What else mmdet needs.
    for name in 'ab':
        write(name, ids)
    assert 'but 2 ids occur twice: 7 of image 0, 7 of image 1' in found([*parts, parts[0]])[0][1]
    write('b', ids[:, :50])
    assert 'b.png is 50 x 40 px, and 60 x 40 are written' in found()[0][1]
    assert "must have 'isthing'" in found(categories=[dict(id=0, name='cat'), dict(id=5, name='dog')])[0][1]
    no_area = [{key: value for key, value in part.items() if key != 'area'} for part in parts]
    assert "'area' of annotations must be a number above 0" in found(no_area)[0][1]


def lvis(version='v1', **lists):
    """Two images and their annotations in the format of LVIS."""
    named = dict(v1=lambda name: dict(coco_url=f'http://images.cocodataset.org/train2017/{name}'))
    named['v0.5'] = lambda name: dict(file_name=f'COCO_train2014_{name}')
    more = dict(neg_category_ids=[1], not_exhaustive_category_ids=[])
    names = ('000000000001.jpg', '000000000002.jpg')
    boxes = [
        box(i, category_id=i, area=200, iscrowd='absent', segmentation=POLYGON, bbox=[50, 30, 9, 9]) for i in (1, 2)
    ]
    content = dict(
        images=[dict(id=i, width=60, height=40, **named[version](name), **more) for i, name in enumerate(names)],
        annotations=boxes,
        categories=[
            dict(id=1, name='cat', frequency='r', synset='cat.n.01', synonyms=['cat'], image_count=1),
            dict(id=2, name='dog', frequency='f', synset='dog.n.01', synonyms=['dog'], image_count=1),
        ],
    )
    content.update(lists)
    return content


@pytest.mark.parametrize('version', ['v0.5', 'v1'])
@pytest.mark.parametrize('test_mode', [False, True])
def test_lvis(version, test_mode, tmp_path):
    datasets = pytest.importorskip('mmdet.datasets')
    maker = {'v0.5': datasets.LVISV05Dataset, 'v1': datasets.LVISV1Dataset}[version]
    folder = tmp_path / ('train2017' if version == 'v1' else '')
    folder.mkdir(exist_ok=True)
    for name in ('000000000001.jpg', '000000000002.jpg'):
        cv2.imwrite(str(folder / name), np.zeros((40, 60, 3), np.uint8))
    config = dataset_config(tmp_path, test_mode=test_mode, pipeline=[dict(type='LoadAnnotations', with_mask=True)])

    def found(classes=('cat', 'dog'), **lists):
        (tmp_path / 'set.json').write_text(json.dumps(lvis(version, **lists)))
        survey = check_dataset('train', ConfigDict(config, metainfo=dict(classes=classes)), maker)
        return [(one.level, str(one)) for one in survey.findings], survey.counts

    assert found() == ([], dict(cat=1, dog=1))
    bad = lvis(version)['annotations']
    bad[1] = dict(bad[1], category_id=3)
    ((level, text),), _ = found(annotations=bad)
    assert level == 'error' and 'annotation 2 belongs to 3; there are 1, 2' in text
    bad[1] = {key: value for key, value in lvis(version)['annotations'][1].items() if key != 'area'}
    assert "'area' of annotations must be a number above 0" in found(annotations=bad)[0][0][1]
    ((level, text),), _ = found(('dog', 'cat'))
    assert level == 'error' and "'dog' at place 0, where the file has 'cat'" in text
    assert 'classes must be as many as the categories, 2' in found(('cat',))[0][0][1]
    assert found(('cats', 'dog'))[0][0][0] == 'note'
    images = lvis(version)['images']
    del images[0]['coco_url' if version == 'v1' else 'file_name']
    assert "images must have 'coco_url'" in found(images=images)[0][0][1] or version == 'v0.5'
    images = [dict(image, neg_category_ids=[9]) for image in lvis(version)['images']]
    texts = [text for _, text in found(images=images)[0]]
    assert [f"'neg_category_ids' of images must be ids of categories in {tmp_path}" in text for text in texts] == (
        [True] * test_mode
    )
    categories = [dict(item, frequency='often') for item in lvis(version)['categories']]
    assert ["'frequency' of categories" in text for _, text in found(categories=categories)[0]] == [True] * test_mode
    if version == 'v1' and not test_mode:  # by mmdet's COCO data set
        texts = [text for _, text in found()[0]]
        findings = check_dataset(
            'train', ConfigDict(config, metainfo=dict(classes=('cat', 'dog'))), datasets.CocoDataset
        )
        texts = [str(one) for one in findings.findings]
        assert "images must have 'file_name'" in texts[0] and 'LVISV1Dataset' in texts[1]


@pytest.mark.parametrize(
    ('name', 'changes', 'text'),
    [
        ('set.json', {}, None),
        ('./set.json', {}, None),
        ('copy.json', {}, None),  # a copy is the same
        ('copy.json', dict(annotations=[]), None),
        (
            'gone.json',
            {},
            r'val_evaluator: ann_file must be that of the data, .*set\.json, but .*gone\.json is missing',
        ),
        ('copy.json', dict(images=[dict(id=0, file_name='b.png')]), 'has other images: 1, and not those 2'),
        ('copy.json', dict(images=[dict(id=0, file_name='b.png'), dict(id=1, file_name='a.png')]), 'other images'),
        ('copy.json', dict(categories=[dict(id=0, name='dog'), dict(id=5, name='cat')]), 'has other categories'),
        ('copy.json', dict(images=3), 'or hold the same images, but .*copy.json cannot be read so'),
    ],
)
def test_evaluator_reads_the_annotations_of_its_data(coco, tmp_path, name, changes, text):
    pytest.importorskip('mmdet')
    coco()
    content = json.loads((tmp_path / 'set.json').read_text())
    (tmp_path / 'copy.json').write_text(json.dumps({**content, **changes}))
    evaluator = [dict(type='CocoMetric', ann_file=f'{tmp_path}/{name}', metric='bbox')]
    loader = dict(dataset=dataset_config(tmp_path, test_mode=True))
    cfg = Config(dict(default_scope='mmdet', val_dataloader=loader, val_evaluator=evaluator))
    (survey,) = check_data(cfg, ('val',))
    errors = [str(finding) for finding in survey.findings if finding.level == 'error']
    assert (errors == []) if text is None else re.search(text, errors[0])


def test_mmdet_reads_what_was_derived_and_parses_once(coco, tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset
    from mmdet.evaluation.metrics import coco_metric

    monkeypatch.setattr(CocoDataset, 'COCOAPI', CocoDataset.COCOAPI)
    monkeypatch.setattr(coco_metric, 'COCO', coco_metric.COCO)
    lists = boxes([5, 5, 9, 9], area=0, iscrowd='absent'), boxes([5, 5, 9, 9], area='absent', iscrowd='0')
    path = coco(annotations=[lists[0][0], dict(lists[1][0], id=2)])[1]
    before = path.read_bytes()
    read = dict(data_root=str(tmp_path), ann_file='set.json', data_prefix=dict(img=''), metainfo=dict(classes=('cat',)))
    coco_reader.complete_reader()
    coco_reader.complete_reader()
    assert look(('train', path, tmp_path), ['cat'], level='error') == []  # keeps what it parsed
    monkeypatch.setattr(json, 'loads', None)
    instances = CocoDataset(**read).get_data_info(0)['instances']
    assert [item['bbox'] for item in instances] == [[5, 5, 14, 14]] * 2
    assert [item['ignore_flag'] for item in instances] == [0, 0]
    monkeypatch.undo()
    coco_reader.complete_reader()
    metric = coco_metric.CocoMetric(ann_file=str(path))
    assert [item['area'] for item in metric._coco_api.dataset['annotations']] == [81, 81]
    assert [item['iscrowd'] for item in metric._coco_api.dataset['annotations']] == [0, 0]
    assert path.read_bytes() == before


def test_annotation_0_never_counts_as_found(coco, tmp_path):
    """What the note says of pycocotools is so."""
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = []
    for number in (0, 1):
        arguments = coco(annotations=[box(number, [5, 5, 20, 20])])
        truth = COCO(str(arguments[1]))
        answers = truth.loadRes([dict(image_id=0, category_id=0, bbox=[5, 5, 20, 20], score=1.0)])
        evaluation = COCOeval(truth, answers, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        found.append(evaluation.eval['recall'].max())
        notes = look(arguments, test_mode=True)
        assert any('annotation 0' in note for note in notes) == (number == 0)
    assert found == [0, 1]
