# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A label is a number: train, val, test and checkpoint must mean the same class by it."""

import shutil

import pytest
import torch

from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine.checks.class_names import Names, compare, difference, names_in, names_of

ONE = dict(num_workers=0, persistent_workers=False)


@pytest.fixture
def renamed(image_folder, tmp_path):
    """Copy the data with folders of one split renamed: ``renamed('val', a='Z')`` returns the new root."""

    def make(split, **names):
        shutil.copytree(image_folder, tmp_path / 'data')
        for old, new in names.items():
            (tmp_path / 'data' / split / old).rename(tmp_path / 'data' / split / new)
        return str(tmp_path / 'data')

    return make


@pytest.mark.parametrize(
    ('names', 'text'),
    [
        (dict(b='B'), "'B' is in it alone and 'b' is missing. .* has B, a, c; train_dataloader.dataset has a, b, c"),
        (dict(a='x', b='a', c='b'), "'x' is in it alone and 'c' is missing"),
    ],
)
def test_other_folders_in_val_than_in_train(names, text, renamed, tiny_config, tool, tmp_path):
    data = dict(dataset=dict(data_root=renamed('val', **names)), **ONE)
    config = tiny_config(train_dataloader=data, val_dataloader=data)
    with pytest.raises(ValueError, match=rf'val_dataloader\.dataset: the classes must be those of train_.*{text}'):
        tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_an_extra_folder_is_named_rather_than_counted(renamed, tiny_config, tool, tmp_path):
    root = renamed('train')
    shutil.copytree(f'{root}/val/a', f'{root}/val/aa')
    data = dict(dataset=dict(data_root=root), **ONE)
    config = tiny_config(train_dataloader=data, val_dataloader=data)
    with pytest.raises(ValueError, match="'aa' is in it alone"):
        tool('train')([config, '--work-dir', str(tmp_path / 'run')])


def test_test_data_against_the_checkpoint(trained, renamed, tiny_config, tool, tmp_path):
    config = tiny_config(test_dataloader=dict(dataset=dict(data_root=renamed('val', b='B')), **ONE))
    args = [config, str(trained / 'epoch_2.pth'), '--work-dir', str(tmp_path / 'test')]
    with pytest.raises(
        ValueError, match=r'test_dataloader\.dataset: the classes must be those of checkpoint .*epoch_2'
    ):
        tool('test')(args)
    # A checkpoint that does not say what its classes are called can be of any.
    checkpoint = read_checkpoint(trained / 'epoch_2.pth')
    del checkpoint['meta']['dataset_meta']
    torch.save(checkpoint, tmp_path / 'nameless.pth')
    tool('test')([config, str(tmp_path / 'nameless.pth'), '--work-dir', str(tmp_path / 'test')])


def test_a_resumed_training_keeps_its_classes(trained, renamed, tiny_config, tool, tmp_path):
    root = renamed('val', b='B')
    (tmp_path / 'data' / 'train' / 'b').rename(tmp_path / 'data' / 'train' / 'B')
    data = dict(dataset=dict(data_root=root), **ONE)
    config = tiny_config(train_dataloader=data, val_dataloader=data, train_cfg=dict(max_epochs=3))
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset: the classes must be those of checkpoint'):
        tool('train')([config, '--work-dir', str(tmp_path / 'run'), '--resume', str(trained / 'epoch_2.pth')])
    # To start from one, a training may have classes of its own.
    config = tiny_config(train_dataloader=data, val_dataloader=data, load_from=str(trained / 'epoch_2.pth'))
    tool('train')([config, '--work-dir', str(tmp_path / 'run'), '--cfg-options', 'train_cfg.max_epochs=1'])


def levels(*names):
    return [(finding.level, finding.key) for finding in compare(names)]


def test_what_is_compared():
    train = Names('train', ('a', 'b'), ('a', 'b'))
    assert levels(train, Names('val', ('a', 'b'))) == []
    assert levels(train, Names('val', ('b', 'a'))) == [('error', 'val')]
    assert levels(train, Names('val', ('a', 'b', 'c'))) == [('error', 'val')]
    # The same names on other folders: numbers mean something else although all is called alike.
    assert levels(train, Names('val', ('a', 'b'), ('b', 'c'))) != []
    # Names that are no folders' stand for them in their order; names that are must have it.
    assert levels(Names('train', ('cat', 'dog'), ('n01', 'n02'))) == []
    assert levels(Names('train', ('dog', 'Cat'), ('cat', 'dog'))) == [('error', 'train')]


def test_difference():
    assert difference(('a', 'b'), ('b', 'a')) == "class 0 is 'a', not 'b'"
    assert difference(('a',), ('a', 'b')) == "'b' is missing"
    assert difference(('a', 'a'), ('a',)) == "'a' is in it alone"


def test_names_below_wrappers():
    class Plain:
        def __init__(self, *classes):
            self.metainfo = dict(classes=classes)

    class Wrapper:
        def __init__(self, dataset=None, datasets=None):
            self.__dict__.update({k: v for k, v in dict(dataset=dataset, datasets=datasets).items() if v})

    both = Wrapper(datasets=[Wrapper(dataset=Plain('a')), Plain('b')])
    assert list(names_of(both, 'train')) == [
        Names('train.datasets.0.dataset', ('a',)),
        Names('train.datasets.1', ('b',)),
    ]
    assert list(names_of(Plain('a'), 'train')) == [Names('train', ('a',))]
    assert list(names_of(object.__new__(Wrapper), 'train')) == []


def test_names_in_checkpoints():
    assert list(names_in(dict(meta=dict(CLASSES=('a',))), 'x')) == [Names('checkpoint x', ('a',))]
    assert list(names_in(dict(meta=dict(dataset_meta=dict(classes=['a']))), 'x')) == [Names('checkpoint x', ('a',))]
    for nameless in (dict(), dict(meta=None), dict(meta=dict(dataset_meta=None)), dict(meta=dict(dataset_meta={}))):
        assert list(names_in(nameless, 'x')) == []
