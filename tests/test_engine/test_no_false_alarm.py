# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Good data gives no error and no warning, with any shipped config.

Tiny sets are generated in the layout of each one that a config names. What a check sees follows from the data loaders
and evaluators, so configs that share those are looked at once, and those that differ in their pipelines alone with
``--full``.
"""

import json
import pickle
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS, init_default_scope
from shipped import ROOT, load
from torch import nn
from torch.utils.data import DataLoader, default_collate

from mmmaskany.engine.checks.batches import check_datasets, check_labels, check_metrics, check_sizes, check_steps
from mmmaskany.engine.checks.classification import head_classes, read_all_images
from mmmaskany.engine.checks.config import check_config
from mmmaskany.engine.checks.data import check_data

SPLITS = ('train', 'val', 'test')
SHIPPED = [path for path in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in path.parts]


def picture(path: Path, generator, size=(48, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def class_folders(root: Path, classes, count=1, suffix='jpg', size=(12, 12)):
    generator = np.random.default_rng(len(str(root)))
    for index, name in enumerate(classes):
        for number in range(count):
            picture(root / name / f'{index}_{number}.{suffix}', generator, size)


def write_coco(root: Path, split: str, annotations: str, categories: dict):
    generator, images, objects = np.random.default_rng(len(split)), [], []
    for index in range(8):
        picture(root / split / f'{index:012d}.jpg', generator)
        images.append(dict(id=index, file_name=f'{index:012d}.jpg', width=48, height=40))
    for index, number in enumerate(categories):
        x, y, w, h = 3 + index % 7, 2 + index % 5, 20 + index % 9, 17
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        objects.append(
            dict(
                id=index + 1,
                image_id=index % 8,
                category_id=number,
                bbox=[x, y, w, h],
                area=w * h,
                iscrowd=0,
                segmentation=[corners],
            )
        )
    listed = [dict(id=number, name=name) for number, name in categories.items()]
    (root / 'annotations').mkdir(exist_ok=True)
    content = dict(images=images, annotations=objects, categories=listed)
    (root / 'annotations' / annotations).write_text(json.dumps(content))


def write_maps(images: Path, maps: Path, ids: int, names):
    generator = np.random.default_rng(len(str(images)))
    maps.mkdir(parents=True)
    for name in names:
        picture(images / f'{name}.jpg', generator)
        numbers = np.arange(48 * 40).reshape(40, 48) % (ids + 1)
        assert cv2.imwrite(str(maps / f'{name}.png'), numbers.astype(np.uint8))


def write_voc(root: Path, year: str, splits, classes):
    generator, folder = np.random.default_rng(int(year)), root / f'VOC{year}'
    for part in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
        (folder / part).mkdir(parents=True)
    for split in splits:
        names = [f'{split}{index}' for index in range(4)]
        (folder / 'ImageSets/Main' / f'{split}.txt').write_text('\n'.join(names) + '\n')
        for place, name in enumerate(names):
            picture(folder / 'JPEGImages' / f'{name}.jpg', generator)
            tree = ET.Element('annotation')
            size = ET.SubElement(tree, 'size')
            for field, value in (('width', 48), ('height', 40), ('depth', 3)):
                ET.SubElement(size, field).text = str(value)
            for called in classes[place::4]:
                item = ET.SubElement(tree, 'object')
                ET.SubElement(item, 'name').text = called
                ET.SubElement(item, 'difficult').text = '0'
                box = ET.SubElement(item, 'bndbox')
                for field, value in (('xmin', 4), ('ymin', 6), ('xmax', 30), ('ymax', 33)):
                    ET.SubElement(box, field).text = str(value)
            ET.ElementTree(tree).write(folder / 'Annotations' / f'{name}.xml')


def write_cifar(root: Path, files, meta, key, names_key, classes):
    generator = np.random.default_rng(classes)
    root.mkdir(parents=True)
    for name in files:
        pixels = generator.integers(0, 256, (classes, 3072), dtype=np.uint8)
        (root / name).write_bytes(pickle.dumps({'data': pixels, key: list(range(classes))}))
    (root / meta).write_bytes(pickle.dumps({names_key: [f'class {index}' for index in range(classes)]}))


def write_cub(root: Path):
    generator, lines = np.random.default_rng(0), dict(images=[], image_class_labels=[], train_test_split=[])
    for index in range(400):
        name = f'{index // 2 + 1:03d}.bird/{index}.jpg'
        picture(root / 'images' / name, generator, (12, 12))
        for part, value in zip(lines, (name, index // 2 + 1, index % 2), strict=True):
            lines[part].append(f'{index + 1} {value}')
    for part, rows in lines.items():
        (root / f'{part}.txt').write_text('\n'.join(rows) + '\n')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder that has ``data``, with a tiny set in the place of each that the shipped configs name."""
    mmdet = pytest.importorskip('mmdet.datasets')
    mmseg = pytest.importorskip('mmseg.datasets')
    root = tmp_path_factory.mktemp('good')
    data = root / 'data'
    digits = runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))
    assert digits['main'](['--data-root', str(data)]) == 0
    thousand = [f'n{index:08d}' for index in range(1000)]
    for split in ('train', 'val'):
        class_folders(data / 'imagenet' / split, thousand)
    for name in ('train_10percent', 'train_1percent'):
        lines = [f'{folder}/{index}_0.jpg {index}' for index, folder in enumerate(thousand)]
        (data / 'imagenet/meta').mkdir(exist_ok=True)
        (data / 'imagenet/meta' / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    tiny, wnids = data / 'tiny-imagenet-200', thousand[:200]
    generator = np.random.default_rng(1)
    for name in wnids:
        picture(tiny / 'train' / name / 'images' / f'{name}_0.JPEG', generator, (16, 16))
        picture(tiny / 'val/images' / f'val_{name}.JPEG', generator, (16, 16))
    (tiny / 'val/val_annotations.txt').write_text(''.join(f'val_{name}.JPEG\t{name}\t0\t0\t9\t9\n' for name in wnids))
    runpy.run_path(str(ROOT / 'tools/dataset_converters/tiny_imagenet.py'))['main']([str(tiny)])
    for split in ('train', 'test'):
        class_folders(data / 'cifar10_images' / split, map(str, range(10)), 10, 'png', (32, 32))
    batches = [*(f'data_batch_{index}' for index in range(1, 6)), 'test_batch']
    write_cifar(data / 'cifar10/cifar-10-batches-py', batches, 'batches.meta', 'labels', 'label_names', 10)
    write_cifar(data / 'cifar100/cifar-100-python', ['train', 'test'], 'meta', 'fine_labels', 'fine_label_names', 100)
    write_cub(data / 'CUB_200_2011')
    classes = mmdet.CocoDataset.METAINFO['classes']
    for split in ('train2017', 'val2017'):
        write_coco(data / 'coco', split, f'instances_{split}.json', dict(enumerate(classes, 1)))
    masks = ('mask_weared_incorrect', 'with_mask', 'without_mask')
    for split in ('train', 'val'):
        write_coco(data / 'facemask_coco', f'{split}2017', f'custom_{split}.json', dict(enumerate(masks, 1)))
    voc = mmdet.VOCDataset.METAINFO['classes']
    write_voc(data / 'VOCdevkit', '2007', ('trainval', 'test'), voc)
    write_voc(data / 'VOCdevkit', '2012', ('trainval',), voc)
    ids, ade = len(mmseg.ADE20KDataset.METAINFO['classes']), data / 'ade/ADEChallengeData2016'
    for split in ('training', 'validation'):
        names = [f'ADE_{split}_{index}' for index in range(4)]
        write_maps(ade / 'images' / split, ade / 'annotations' / split, ids, names)
    stuff = data / 'coco_stuffthing_200'
    for split in ('train', 'val'):
        names = [f'{split}{index}' for index in range(4)]
        maps = stuff / 'semantic_segmentation/masks' / f'{split}2017'
        write_maps(stuff / 'images' / f'{split}2017', maps, 200, names)
        (stuff / f'{split}.txt').write_text('\n'.join(names) + '\n')
    return root


def groups():
    """List configs by what the checks see of them; what other data than the groups before is not slow."""
    found, seen = {}, set()
    for path in SHIPPED:
        cfg = load(path)
        loaders = [cfg.get(f'{split}_dataloader') or {} for split in SPLITS]
        evaluators = [cfg.get(f'{split}_evaluator') for split in SPLITS]
        preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
        classes = head_classes(cfg.model) if cfg.default_scope == 'mmpretrain' else None
        key = repr((cfg.default_scope, classes, loaders, evaluators, preprocessor))
        if key not in found:
            sets = [dict(loader.get('dataset', {}), pipeline=None, _scope_=None) for loader in loaders]
            marks = [pytest.mark.slow] if repr(sets) in seen else []
            seen.add(repr(sets))
            found[key] = pytest.param([], id=path.stem, marks=marks)
        found[key].values[0].append(path)
    return list(found.values())


GROUPS = groups()


class Stub(nn.Module):
    """What the checks of batches see of a model: what prepares its images, and how many classes it predicts."""

    def __init__(self, preprocessor, num_classes):
        super().__init__()
        self.data_preprocessor, self.head = preprocessor, nn.Identity()
        self.head.num_classes = num_classes


def said(findings):
    return [str(finding) for finding in findings if finding.level != 'note']


@pytest.mark.parametrize('paths', GROUPS)
def test_good_data_and_shipped_configs(paths, folder, monkeypatch):
    from mmpretrain.datasets import CIFAR10

    monkeypatch.chdir(folder)
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)  # compares with the hashes of the real files
    cfg = Config(load(paths[0]).to_dict())
    for split in SPLITS:
        if cfg.get(f'{split}_dataloader'):
            node = cfg[f'{split}_dataloader']
            node.batch_size = min(2, node.batch_size)  # there are few images
    check_config(cfg)
    splits = [split for split in SPLITS if cfg.get(f'{split}_dataloader')]
    assert read_all_images(cfg, splits) == []
    surveys = check_data(cfg, splits)
    assert said(finding for survey in surveys for finding in survey.findings) == []

    init_default_scope(cfg.default_scope)
    sets = {split: DATASETS.build(cfg[f'{split}_dataloader'].dataset) for split in splits}
    assert said(check_datasets({f'{split}_dataloader.dataset': dataset for split, dataset in sets.items()})) == []
    classes = head_classes(cfg.model) if cfg.default_scope == 'mmpretrain' else None
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    if cfg.default_scope == 'mmpretrain':
        preprocessor = dict(dict(type='ClsDataPreprocessor'), **preprocessor)
        preprocessor.pop('batch_augments', None)
    model = Stub(MODELS.build(preprocessor), classes)
    for split, dataset in sets.items():
        key, node = f'{split}_dataloader', cfg[f'{split}_dataloader']
        sampler = DATA_SAMPLERS.build(node.sampler, default_args=dict(dataset=dataset, seed=0))
        collate = default_collate if cfg.default_scope == 'mmpretrain' else pseudo_collate
        loader = DataLoader(
            dataset, node.batch_size, sampler=sampler, drop_last=node.get('drop_last', False), collate_fn=collate
        )
        assert said(check_steps(key, loader)) == []
        assert said(check_sizes(key, model, loader, split == 'train')) == []
        if split == 'train':
            assert said(check_labels(key, dataset, classes)) == []
        else:
            evaluators = cfg[f'{split}_evaluator']
            evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
            metrics = [METRICS.build(evaluator) for evaluator in evaluators]
            assert said(check_metrics(f'{split}_evaluator', metrics, dataset, classes)) == []


def test_every_shipped_config_is_in_a_group():
    assert sorted(path for group in GROUPS for path in group.values[0]) == SHIPPED
