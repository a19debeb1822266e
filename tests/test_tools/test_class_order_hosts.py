# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_other_class_names_in_val_than_in_train(library, write_library_config, tool, tmp_path):
    pytest.importorskip(library)
    classes = dict(classes=('red', 'green', 'blue'), palette=[[9, 9, 9]] * 3)
    config = write_library_config(tmp_path, library, val_dataloader=dict(dataset=dict(metainfo=classes)))
    with pytest.raises(
        ValueError, match=r"val_dataloader\.dataset: .*(class 0 is 'red', not 'blue'|order of the categories)"
    ):
        tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    assert not list((tmp_path / 'run').glob('*.pth'))
