# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import inspect
from types import SimpleNamespace

import pytest
from mmengine.structures import BaseDataElement

from mmmaskany.engine.pictures import keep_all_pictures


@pytest.mark.parametrize(
    ('library', 'name'), [('mmdet', 'DetLocalVisualizer'), ('mmseg', 'SegLocalVisualizer')], ids=['mmdet', 'mmseg']
)
def test_each_picture_has_a_name_of_its_own(library, name, tmp_path):
    """The libraries' own signatures are called as their hooks call them; what they get is recorded."""
    visualizer = getattr(pytest.importorskip(f'{library}.visualization'), name)
    seen = []

    class Recorder:
        def add_datasample(self, *args, **kwargs):
            given = inspect.signature(visualizer.add_datasample).bind(self, *args, **kwargs)
            seen.append((given.arguments['name'], given.arguments.get('out_file')))

    Recorder.add_datasample.__signature__ = inspect.signature(visualizer.add_datasample)
    paths = [tmp_path / folder / '1.png' for folder in ('a', 'b', 'b/c')]
    dataset = SimpleNamespace(get_data_info=lambda index: dict(img_path=str(paths[index])))
    loader = SimpleNamespace(dataset=type('', (), dict(__len__=lambda self: 3, **vars(dataset)))())
    loader.dataset.get_data_info = dataset.get_data_info
    runner = SimpleNamespace(visualizer=Recorder(), test_loop=SimpleNamespace(dataloader=loader))
    keep_all_pictures(runner)
    for path in paths:
        sample = BaseDataElement(metainfo=dict(img_path=str(path)))
        out = dict(out_file='show/1.png') if library == 'mmdet' else {}
        runner.visualizer.add_datasample('test_1.png', None, data_sample=sample, **out)
    if library == 'mmdet':
        assert [file for _, file in seen] == ['show/a/1.png', 'show/b/1.png', 'show/b/c/1.png']
    else:
        assert [name for name, _ in seen] == ['a__test_1.png', 'b__test_1.png', 'b__c__test_1.png']
