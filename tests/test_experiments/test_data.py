# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import shutil

import numpy as np
import pytest
from generated_images import coco, draw, save
from PIL import Image, ImageEnhance

from mmmaskany.experiments.data import look
from mmmaskany.experiments.near_duplicates import _limit, find_groups, find_pairs, split, thumbnail


def sizes(data):
    return {name: len(own.samples) for name, own in data.splits.items()}


# ---------------------------------------------------------------------- layouts


def test_class_folders_without_splits_are_split(class_folders):
    data = look(class_folders('red', 'green', 'blue', count=10))
    assert (data.task, data.classes, data.was_split) == ('classification', ['blue', 'green', 'red'], True)
    assert sizes(data) == {'train': 24, 'val': 6}
    assert data.counts('val') == [2, 2, 2]
    assert data.size == (64, 48)
    again = look(data.path)
    assert again.splits == data.splits


@pytest.mark.parametrize('names', [('train', 'val'), ('training', 'validation'), ('Train', 'valid'), ('train', 'test')])
def test_folders_of_splits(class_folders, names):
    for name, count in zip(names, (5, 2), strict=True):
        root = class_folders('red', 'blue', count=count, below=name)
    data = look(root)
    assert (sizes(data), data.was_split) == ({'train': 10, 'val': 4}, False)
    assert data.counts('train') == [5, 5]


def test_all_three_splits_and_a_class_that_is_called_train(class_folders):
    for name in ('train', 'val', 'test'):
        root = class_folders('red', 'blue', count=4, below=name)
    assert sizes(look(root)) == {'train': 8, 'val': 8, 'test': 8}
    data = look(class_folders('train', 'bus', 'car', root=root.parent / 'vehicles'))
    assert data.classes == ['bus', 'car', 'train']


@pytest.mark.parametrize(
    ('head', 'sign', 'ending'), [('', ' ', '.txt'), ('', ',', '.csv'), ('file,class', ',', '.csv'), ('', '\t', '.tsv')]
)
def test_lists(class_folders, head, sign, ending):
    root = class_folders('red', 'blue', root=class_folders('green', count=1) / 'photos of mine')
    shutil.rmtree(root.parent / 'green')
    files = sorted(root.rglob('*.png'))
    lines = [head] * bool(head) + [f'{file.relative_to(root.parent)}{sign}{file.parent.name}' for file in files]
    path = root.parent / f'labels{ending}'
    path.write_text('\n'.join(lines))
    data = look(path)
    assert data.classes == ['blue', 'red']
    assert [sample.label for own in data.splits.values() for sample in own.samples].count(0) == 8


def test_a_list_of_numbers_in_a_folder_of_images_and_its_splits(class_folders):
    root = class_folders('images', count=12)
    lines = ['id,label,split', *(f'{i},{i % 3 * 10},{"val" if i > 8 else "train"}' for i in range(12))]
    (root / 'train.csv').write_text('\n'.join(lines))
    data = look(root)
    assert data.classes == ['0', '10', '20']  # by number, not as words
    assert sizes(data) == {'train': 9, 'val': 3}


@pytest.mark.parametrize('where', ['{split}/_annotations.coco.json', 'annotations/custom_{split}.json'])
def test_coco(tmp_path, where):
    for split_name, count in (('train', 9), ('valid', 3)):
        content, images = coco(count)
        content['categories'].append(dict(id=9, name='nothing'))
        for name, image in images.items():
            save(tmp_path / split_name / name, image)
        path = tmp_path / where.format(split=split_name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    data = look(tmp_path)
    assert (data.task, data.masks, data.classes) == ('detection', True, ['red', 'green', 'blue'])
    assert sizes(data) == {'train': 9, 'val': 3}
    np.testing.assert_allclose(data.boxes, 20 / 64)
    assert any('nothing' in text for text in data.odd)


def test_coco_is_split_with_its_annotations(boxes):
    data = look(boxes(10) / 'annotations' / 'instances_all.json')
    for own in data.splits.values():
        ids = {sample.id for sample in own.samples}
        assert {box['image_id'] for box in own.content['annotations']} == ids
        assert {image['id'] for image in own.content['images']} == ids
    assert (data.counts('train'), data.counts('val')) == ([3, 2, 2], [1, 1, 1])


def test_label_maps(label_maps):
    data = look(label_maps(10))
    assert (data.task, data.zero, data.classes[0], len(data.classes)) == ('segmentation', 'background', 'background', 4)
    assert all(sample.image.stem == sample.labels.stem for own in data.splits.values() for sample in own.samples)
    assert look(data.path, zero='unlabelled').classes == ['class 1', 'class 2', 'class 3']


def test_zero_is_unlabelled_where_little_of_the_images_has_it(label_maps):
    data = look(label_maps(8, ids=(0, 1, 2, 3), ground=4))
    assert (data.zero, len(data.classes)) == ('unlabelled', 4)


# ---------------------------------------------------------------------- splitting


def test_near_duplicates_stay_on_one_side(tmp_path):
    generator = np.random.default_rng(0)
    names, vectors = [], []
    for index in range(20):
        image = Image.fromarray(generator.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((64, 48))
        for copy, one in enumerate((image, image.resize((200, 150)), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
            names.append(f'{index}-{copy}')
            vectors.append(thumbnail(one))
    groups = find_groups(np.stack(vectors))
    assert sorted(map(sorted, groups)) == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(20)]
    in_val = split(names, [0] * 60, np.stack(vectors))
    assert sum(in_val) == 12
    assert all(len({in_val[index] for index in group}) == 1 for group in groups)


def test_simple_images_are_no_near_duplicates():
    """Strokes of a few gray values, as digits are: many are nearer to each other than the copies of a photo."""
    generator = np.random.default_rng(0)
    strokes = []
    for _ in range(300):
        x, y = generator.integers(5, 11, 2)
        pixels = np.zeros((16, 16), np.uint8)
        pixels[2:14, x : x + 2] = 255
        pixels[y : y + 2, 4:12] = generator.integers(6, 16) * 16
        strokes.append(Image.fromarray(pixels).resize((32, 32)))
    vectors = np.stack([thumbnail(one) for one in strokes])
    mirrored = np.stack([thumbnail(one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for one in strokes])
    cosines = np.triu(np.maximum(vectors @ vectors.T, vectors @ mirrored.T), 1)
    assert (cosines > 0.92).sum() > 1000
    same = {tuple(sorted(pair)) for pair in find_pairs(vectors).tolist()}
    assert all(cosines[pair] > 0.998 for pair in same)
    # Of photos that differ, copies that were cut a little and made brighter are found as ever.
    photos = [generator.integers(0, 255, (5, 6, 3), dtype=np.uint8) for _ in range(100)]
    photos = [Image.fromarray(one).resize((96, 80), Image.Resampling.BICUBIC) for one in photos]
    copies = [ImageEnhance.Brightness(one.crop((2, 2, 94, 78))).enhance(1.1) for one in photos[:10]]
    pairs = find_pairs(np.stack([thumbnail(one) for one in photos]), np.stack([thumbnail(one) for one in copies]))
    assert sorted(map(tuple, pairs.tolist())) == [(index, index) for index in range(10)]


@pytest.mark.parametrize(
    ('counts', 'limit'),
    [
        # As measured: handwritten digits, CIFAR-10, flowers, animals, and faces; pairs within 0.32, 0.16, 0.08, ...
        ((365040, 56337, 11206, 1355, 118, 6, 1, 0, 0), 0.00125),
        ((45945, 1037, 15, 1, 0, 0, 0, 0, 0), 0.01),
        ((55576, 514, 20, 10, 7, 5, 5, 4, 4), 0.04),
        ((883, 36, 9, 7, 7, 7, 7, 7, 7), 0.08),
        ((594, 45, 18, 10, 7, 7, 6, 6, 6), 0.08),
        ((5, 5, 5, 5, 5, 5, 5, 5, 5), 0.08),  # nothing but copies
        ((0,) * 9, 0.08),
    ],
)
def test_what_is_near_follows_from_the_set(counts, limit):
    assert _limit(np.array(counts)) == pytest.approx(limit)


# ---------------------------------------------------------------------- bad input


def test_what_cannot_be_used_is_refused(class_folders, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no'):
        look(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='must hold images'):
        look(tmp_path / 'empty')
    with pytest.raises(ValueError, match="at least two classes, but .* holds one, 'red'"):
        look(class_folders('red', root=tmp_path / 'one'))
    root = class_folders('red', 'green', root=tmp_path / 'single')
    class_folders('blue', count=1, root=root)
    with pytest.raises(ValueError, match='at least two images to train on, but blue'):
        look(root)
    flat = class_folders('train', root=tmp_path / 'flat')
    with pytest.raises(ValueError, match='nothing that says what they are'):
        look(flat)
    with pytest.raises(
        ValueError, match='images with a COCO json for --task detection, but .* nothing .* for that task'
    ):
        look(root, 'detection')
    (tmp_path / 'data.zip').write_bytes(b'PK')
    with pytest.raises(ValueError, match='must be a folder, a list'):
        look(tmp_path / 'data.zip')


def test_two_readings_are_refused_and_the_task_settles_it(class_folders):
    root = class_folders('red', 'green')
    content, _ = coco(6, 'red/{}.png')
    (root / 'boxes.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'fits two readings.*--task detection or --task classification'):
        look(root)
    assert look(root, task='classification').classes == ['green', 'red']
    assert look(root, task='detection').masks
    (root / 'boxes.json').unlink()
    (root / 'labels.csv').write_text('\n'.join(f'red/{i}.png,{"ab"[i % 2]}' for i in range(8)))
    with pytest.raises(ValueError, match='name the list itself'):
        look(root)
    assert look(root / 'labels.csv').classes == ['a', 'b']


def test_missing_images_and_broken_ones(boxes, class_folders, tmp_path):
    root = boxes(6)
    (root / 'images' / '3.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 6 images .* must lie below .*3\.png'):
        look(root)
    root = class_folders('red', 'green', root=tmp_path / 'broken')
    (root / 'red' / '0.png').write_bytes(b'no image')
    data = look(root)
    assert sum(sizes(data).values()) == 15
    assert 'red/0.png' in data.odd[0]


def test_masks_of_0_and_255_say_what_to_do(label_maps):
    with pytest.raises(ValueError, match='write 1 in place of 255'):
        look(label_maps(6, ids=(255,)))


def test_validation_images_that_were_trained_on_are_odd(class_folders):
    root = class_folders('red', 'blue', below='train')
    shutil.copytree(root / 'train', root / 'val')
    assert any('look like one of the training' in text for text in look(root).odd)


def test_photos_are_drawn_at_a_fraction(tmp_path):
    image, _ = draw(np.random.default_rng(0), 0, (480, 640))
    save(tmp_path / 'photo.jpg', image)
    with Image.open(tmp_path / 'photo.jpg') as photo:
        vector = thumbnail(photo)
        assert max(photo.size) < 200
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5
