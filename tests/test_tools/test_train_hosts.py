# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""tools/train.py and tools/test.py with the other two libraries, on a few drawn squares."""

import pickle

import pytest
import torch

from mmmaskany.checkpoints.protection import read_checkpoint

#: The names of checkpoints, and the steps at which they are written.
CHECKPOINTS = {'mmdet': ('epoch_{}.pth', (1, 2)), 'mmseg': ('iter_{}.pth', (4, 8))}


@pytest.mark.parametrize('library', CHECKPOINTS)
def test_train_resume_and_test(library, write_library_config, tool, tmp_path):
    pytest.importorskip(library)
    config, run, test = (
        write_library_config(tmp_path, library),
        tmp_path / 'run',
        ['--work-dir', str(tmp_path / 'test')],
    )
    name, steps = CHECKPOINTS[library]
    middle, end = (run / name.format(step) for step in steps)

    tool('train')([config, '--work-dir', str(run)])
    assert read_checkpoint(middle)['meta']['iter'] == 4
    whole = read_checkpoint(end)
    end.unlink()
    tool('train')([config, '--work-dir', str(run), '--resume'])
    resumed = read_checkpoint(end)
    assert resumed['meta']['iter'] == whole['meta']['iter'] == 8
    for name, tensor in whole['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], tensor), name

    for args in ([], ['--tta']):
        tool('test')([config, str(end), *test, '--out', str(tmp_path / 'out.pkl'), *args])
        predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
        assert len(predictions) == 2
        assert {'mmdet': 'pred_instances', 'mmseg': 'pred_sem_seg'}[library] in predictions[0]
    if library == 'mmseg':
        tool('test')([config, str(end), *test, '--out', str(tmp_path / 'maps')])
        assert sorted(path.name for path in (tmp_path / 'maps').iterdir()) == ['0.png', '1.png']
