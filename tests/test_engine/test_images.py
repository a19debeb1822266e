# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Class folders: what is in them is read, or named; images that lose depth or are shared by two splits are named."""

import io
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmmaskany.engine.checks.classification import read_all_images
from mmmaskany.engine.checks.data import check_data
from mmmaskany.engine.checks.images import check_depth, check_shared, list_files, readers, sort_unread
from mmmaskany.engine.checks.sizes import Loading, check_sizes

ONE = dict(num_workers=0, persistent_workers=False)


def picture(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(path, **options)


def config(root, split='train', **changes):
    load = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = {**dict(type='CustomDataset', data_root=str(root), pipeline=load), **changes}
    return Config({'default_scope': 'mmpretrain', f'{split}_dataloader': dict(dataset=dataset)})


def found(cfg, split='train'):
    (survey,) = check_data(cfg, (split,))
    return [(finding.level, finding.text) for finding in survey.findings], survey.counts


# ---------------------------------------------------------------------- suffixes


@pytest.fixture
def mixed(tmp_path):
    """Two class folders, in which half of the images have suffixes that mmpretrain passes over."""
    for name in ('eel', 'ant'):
        for index, suffix in enumerate(('jpg', 'PNG', 'webp', 'tiff', 'gif')):
            picture(tmp_path / name / f'{index}.{suffix}', 40 * index)
        (tmp_path / name / 'notes.txt').write_text('no image')
        (tmp_path / name / '.hidden.webp').write_text('no image')
    return tmp_path


def test_all_images_of_a_folder_are_read(mixed):
    cfg = config(mixed)
    (note,) = read_all_images(cfg, ('train',))
    assert '6 images of' in note and all(part in note for part in ('2 .gif', '2 .tiff', '2 .webp'))
    assert found(cfg) == ([], dict(ant=5, eel=5))
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    values = sorted(int(dataset[index]['inputs'].float().mean().round()) for index in range(len(dataset)))
    assert values == pytest.approx([0, 0, 40, 40, 80, 80, 120, 120, 160, 160], abs=1)
    assert read_all_images(cfg, ('train',)) == []  # said once


def test_what_a_config_does_not_want_is_counted(mixed):
    cfg = config(mixed, extensions=('.jpg', '.png'))
    assert read_all_images(cfg, ('train',)) == []
    ((level, text),), counts = found(cfg)
    assert level == 'note' and text.startswith('6 of 10 images are passed over: 2 .') and counts == dict(ant=2, eel=2)


def test_what_pillow_alone_reads_has_a_way(tmp_path):
    for name in 'ab':
        picture(tmp_path / name / '1.png')
        picture(tmp_path / name / '2.tga', 200)
    cfg = config(tmp_path)
    assert readers(tmp_path / 'a' / '2.tga') == ('pillow',)
    assert read_all_images(cfg, ('train',)) == []
    ((level, text),), _ = found(cfg)
    assert level == 'warning' and text.startswith(
        '2 of 4 images are passed over: 2 .tga (a/2.tga, b/2.tga); extensions=('
    )
    # The advice works.
    dataset = cfg.train_dataloader.dataset
    dataset.extensions = eval(text.partition('extensions=')[2].partition(' reads')[0])
    dataset.pipeline[0].imdecode_backend = 'pillow'
    init_default_scope('mmpretrain')
    built = DATASETS.build(dataset)
    assert len(built) == 4 and built[1]['inputs'].float().mean() == 200


def test_every_image_type_that_pillow_writes(tmp_path):
    """Whatever it is called, OpenCV or Pillow reads it, and it is sorted so; nothing is lost without a word."""
    Image.init()
    image, names = Image.new('RGB', (64, 64), (90, 90, 90)), []
    for suffix, kind in sorted(Image.registered_extensions().items()):
        if kind not in Image.SAVE or kind in ('PDF', 'PALM', 'EPS'):
            continue
        try:
            image.save(tmp_path / f'1{suffix}', kind)
        except Exception:  # no RGB, or not built in
            (tmp_path / f'1{suffix}').unlink(missing_ok=True)
            continue
        names.append(f'1{suffix}')
    assert len(names) > 15
    kinds = sort_unread(tmp_path, names)
    assert sorted(sum(kinds.values(), [])) == sorted(names) and 'nothing' not in kinds
    for name in kinds['cv2']:
        assert cv2.imread(str(tmp_path / name)).shape == (64, 64, 3), name


def test_images_that_nothing_reads(tmp_path):
    for name in 'ab':
        picture(tmp_path / name / '1.png')
        (tmp_path / name / '2.heic').write_bytes(b'ftypheic')
        (tmp_path / name / '3.webp').write_bytes(b'broken')
        picture(tmp_path / name / '4.png')
        (tmp_path / name / '4.png').rename(tmp_path / name / '4')
    texts = sorted(text for _, text in found(config(tmp_path))[0])
    assert texts[0].startswith('2 of 4 images are passed over: 2  (a/4, b/4); they have no suffix')
    assert texts[1].startswith('4 of 6 images are passed over: 2 .heic, 2 .webp')
    assert texts[1].endswith('neither OpenCV nor Pillow reads them: convert them')


# ---------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ('files', 'level', 'wanted'),
    [
        (
            ['1.png'],
            'error',
            'must hold a folder for each class, but holds none; with_label=False reads images without',
        ),
        (['a/1.png'], 'error', 'two classes at least, .* has one folder, a'),
        (['train/a/1.png', 'train/b/1.png', 'val/a/1.png'], 'error', "train, val look like splits: data_prefix='val'"),
        (['a/1.png', 'b/1.txt'], 'warning', '1 of 2 hold none: b'),
        (
            ['.ipynb_checkpoints/1.png', 'a/1.png', 'b/1.png'],
            'error',
            r'but \.ipynb_checkpoints would be one, too: remove',
        ),
        (['a/.ipynb_checkpoints/1.png', 'a/1.png', 'b/1.png'], 'warning', '1 images lie in hidden folders'),
        (['a/1.txt', 'b/1.txt'], 'error', 'in its 2 class folders, but holds none'),
        (['a/1.png', 'b/1.png', '1.png'], 'warning', '1 images lie beside the class folders .* 1.png'),
    ],
)
def test_folders(tmp_path, files, level, wanted):
    import re

    for name in files:
        if name.endswith('png'):
            picture(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    cfg = config(tmp_path)
    read_all_images(cfg, ('train',))
    assert any(got == level and re.search(wanted, text) for got, text in found(cfg)[0]), found(cfg)


def test_number_of_folders_and_of_classes(tmp_path):
    for name in 'abc':
        picture(tmp_path / name / '1.png')
    assert found(config(tmp_path, metainfo=dict(classes=('x', 'y', 'z')))) == ([], dict(x=1, y=1, z=1))
    ((level, text),), _ = found(config(tmp_path, metainfo=dict(classes=('x', 'y'))))
    assert level == 'error' and 'a folder for each of 2 classes, but holds 3: a, b, c' in text
    (tmp_path / 'names.txt').write_text('x\ny\n')
    ((level, _),), _ = found(config(tmp_path, classes=str(tmp_path / 'names.txt')))
    assert level == 'error'


def test_files_are_listed_as_the_libraries_list_them(tmp_path):
    for name in ('a/1.png', 'a/deep/2.png', '.git/3.png', 'b/.4.png', 'b/.git/5.png'):
        picture(tmp_path / name)
    (tmp_path / 'c').symlink_to(tmp_path / 'a')
    assert list_files(tmp_path) == ['.git/3.png', 'a/1.png', 'a/deep/2.png', 'b/.git/5.png', 'c/1.png', 'c/deep/2.png']
    init_default_scope('mmpretrain')
    built = DATASETS.build(config(tmp_path).train_dataloader.dataset)
    assert [built.get_data_info(index)['img_path'].removeprefix(f'{tmp_path}/') for index in range(len(built))] == (
        list_files(tmp_path)
    )


def test_imagenet_takes_folder_and_list_from_its_split(tmp_path):
    for split in ('train', 'val'):
        for name in 'ab':
            picture(tmp_path / split / name / '1.png')
    picture(tmp_path / 'test/1.png')
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/val.txt').write_text('a/1.png 0\nb/1.png 2\n')
    init_default_scope('mmpretrain')

    def look(split):
        cfg = config(tmp_path, type='ImageNet', metainfo=dict(classes=('x', 'y')))
        cfg.train_dataloader.dataset.split = split
        assert read_all_images(cfg, ('train',)) == []
        built = DATASETS.build(cfg.train_dataloader.dataset)
        return len(built), *found(cfg)

    assert look('train') == (2, [], dict(x=1, y=1))
    count, ((level, text),), _ = look('val')
    assert count == 2 and level == 'error' and 'line 2 has 2' in text
    assert look('test') == (1, [], {})
    cfg = config(tmp_path, type='ImageNet', data_prefix='nowhere')
    cfg.train_dataloader.dataset.split = 'train'
    assert 'nowhere must exist' in found(cfg)[0][0][1]


# ---------------------------------------------------------------------- depth


@pytest.mark.parametrize(('suffix', 'dtype'), [('png', np.uint16), ('tiff', np.uint16), ('tif', np.float32)])
def test_images_that_lose_depth(tmp_path, suffix, dtype):
    for name in 'ab':
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / f'1.{suffix}'), np.full((8, 8), 4000, dtype))
    ((level, text),), _ = found(config(tmp_path, extensions=(f'.{suffix}',)))
    assert level == 'warning' and f'2 of 2 that were looked at are {np.dtype(dtype)}' in text
    assert 'becomes 15 of 255' in text or dtype is np.float32
    load = [dict(type='LoadImageFromFile', color_type='unchanged'), dict(type='PackInputs')]
    cfg = config(tmp_path, extensions=(f'.{suffix}',), pipeline=load)
    assert found(cfg)[0] == []
    init_default_scope('mmpretrain')
    assert DATASETS.build(cfg.train_dataloader.dataset)[0]['inputs'].float().max() == 4000  # the advice works


def test_depth_of_8_bits(mixed):
    assert list(check_depth('train', [mixed / name for name in list_files(mixed)])) == []


def forms(format):
    """Yield the modes in which Pillow writes a format, with an image of each."""
    colours = np.kron(
        np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    plain = Image.fromarray(colours)
    deep = np.array(plain.convert('L')).astype(np.int32) * 257
    for mode in ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'I', 'I;16', 'F'):
        if mode in ('I', 'I;16', 'F'):
            image = Image.fromarray(deep.astype({'I': np.int32, 'I;16': np.uint16, 'F': np.float32}[mode]))
        else:
            image = plain.convert('P').convert('PA') if mode == 'PA' else plain.convert(mode)
        try:
            image.save(io.BytesIO(), format)
        except (OSError, ValueError, SystemError):  # the format has no such mode
            continue
        yield mode, image
        if mode in ('LA', 'RGBA'):
            image = image.copy()
            image.putalpha(plain.convert('L'))
            yield f'{mode} half transparent', image


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize(
    'suffix',
    [
        'bmp',
        'dds',
        'dib',
        'gif',
        'ico',
        'im',
        'jp2',
        'jpg',
        'pcx',
        'pgm',
        'png',
        'ppm',
        'qoi',
        'sgi',
        'tga',
        'tif',
        'webp',
    ],
)
def test_every_type_that_pillow_writes_is_loaded_as_it_is_or_named(tmp_path, suffix, backend):
    Image.init()
    format = Image.EXTENSION.get(f'.{suffix}')
    if format not in Image.SAVE or (written := dict(forms(format))) == {}:
        pytest.skip(f'this Pillow writes no {suffix}')
    loading = Loading(backend=backend)
    for mode, image in written.items():
        path = tmp_path / f'{mode.replace(";", "-")}.{suffix}'
        image.save(path, format)
        with Image.open(path) as stored:  # an icon has sizes of its own
            size, expected = stored.size[::-1], np.array(stored.convert('RGB'))[..., ::-1].astype(int)
        found = check_sizes('train', [(path, size)], loading, 'the test')
        try:
            loaded = loading.load(path).astype(int)
        except Exception:
            (error,) = [finding for finding in found if finding.level == 'error']
            assert f'that {backend} reads, but 1 of 1 images are not: {path}' in error.text
            if 'pillow' in error.text:  # the way out works
                assert Loading(backend='pillow').load(path).shape == (*size, 3)
            continue
        if found:
            assert [finding.level for finding in found] == ['warning']
            assert 'are loaded with 8 bits' in found[
                0
            ].text or f'but 1 of 1 that were looked at are not by {backend}' in (found[0].text)
            if "imdecode_backend='" in found[0].text:  # the way out works
                other = found[0].text.partition("imdecode_backend='")[2].partition("'")[0]
                assert check_sizes('train', [(path, size)], Loading(backend=other), 'the test') == []
        else:
            assert loaded.shape == expected.shape and abs(loaded - expected).mean() <= 5, (mode, backend)


def test_colours_that_are_not_those_that_are_stored(tmp_path):
    pixels = np.full((20, 30, 4), 200, np.uint8)
    for index in range(4):
        (tmp_path / 'ab'[index % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / 'ab'[index % 2] / f'{index}.tiff')  # of 255, alpha is 200
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / 'a' / 'opaque.tiff')
    Image.fromarray(pixels // 2).save(tmp_path / 'a' / 'half.png')
    ((level, text),), _ = found(config(tmp_path, extensions=('.tiff', '.png')))
    assert level == 'warning' and 'but 4 of 6 that were looked at are not by cv2' in text
    assert f'{tmp_path}/' in text and 'TIFF of mode RGBA, differ by 43 of 255' in text  # 200 * (1 - 200 / 255)
    assert "imdecode_backend='pillow' of LoadImageFromFile loads them" in text
    load = [dict(type='LoadImageFromFile', imdecode_backend='pillow'), dict(type='PackInputs')]
    assert found(config(tmp_path, extensions=('.tiff', '.png'), pipeline=load))[0] == []


# ---------------------------------------------------------------------- shared images


def test_shared_images(tmp_path):
    train = [tmp_path / 'train' / f'{index}.png' for index in range(6)]
    for index, path in enumerate(train):
        picture(path, index)
    other = [tmp_path / 'val' / f'{index}.png' for index in range(3)]
    for index, path in enumerate(other):
        picture(path, 100 + index)  # the same names, other images
    train, other = list(map(str, train)), list(map(str, other))
    assert list(check_shared('val', train, other)) == []
    shutil.copy(train[4], other[1])
    (finding,) = check_shared('val', train, other)
    assert finding.level == 'warning'
    assert f'1 of 3 that were looked at have the content of training images: {other[1]} is {train[4]}' in finding.text
    (finding,) = check_shared('val', train, train[:2])
    assert '2 of 2 that were looked at are files of the training set' in finding.text
    (tmp_path / 'link').symlink_to(tmp_path / 'train')
    (finding,) = check_shared('val', train, [str(tmp_path / 'link' / '0.png'), *other])
    assert '1 of 4 that were looked at are files of the training set' in finding.text


def test_training_says_that_it_is_validated_on_what_it_learned(tiny_config, tool, tmp_path, capfd):
    config = tiny_config(train_dataloader=ONE, val_dataloader=dict(dataset=dict(data_prefix='train'), **ONE))
    tool('train')([config, '--work-dir', str(tmp_path / 'run'), '--cfg-options', 'train_cfg.max_epochs=1'])
    assert '44 of 44 that were looked at are files of the training set' in ''.join(capfd.readouterr())
