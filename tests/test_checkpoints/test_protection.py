# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmmaskany.checkpoints.protection import read_checkpoint

UPGRADE = Path(__file__).resolve().parents[2] / 'tools' / 'model_converters' / 'upgrade_checkpoint.py'


class Payload:
    """Runs code when it is unpickled without protection."""

    def __reduce__(self):
        return print, ('code was run',)


def test_log_histories_survive(tmp_path):
    history = HistoryBuffer(max_length=3)
    for value, count in ((1.5, 1), (2, 3), (4.25, 2), (0.1, 1)):
        history.update(value, count)
    torch.save(dict(state_dict={}, history=history), tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)['history']
    np.testing.assert_array_equal(loaded.data[0], [2, 4.25, 0.1])
    np.testing.assert_array_equal(loaded.data[1], [3, 2, 1])
    assert loaded.max_length == 3
    assert loaded.statistics('mean') == (2 + 4.25 + 0.1) / 6
    loaded.update(7)
    assert loaded.current() == 7


def test_plain_numpy_values_survive(tmp_path):
    values = [np.float32(0.5), np.int64(-3), np.bool_(True), np.arange(6.0).reshape(2, 3), np.array(['a', 'bc'])]
    torch.save(dict(values=values), tmp_path / 'a.pth')
    for loaded, value in zip(torch.load(tmp_path / 'a.pth', weights_only=True)['values'], values, strict=True):
        np.testing.assert_array_equal(loaded, value)
        assert loaded.dtype == value.dtype


def test_code_is_refused(tmp_path, capsys):
    path = tmp_path / 'payload.pth'
    torch.save(dict(state_dict={}, extra=Payload()), path)
    with pytest.raises(
        ValueError, match=r'payload.pth must hold tensors and plain values only, but also holds .*print'
    ):
        read_checkpoint(path)
    with pytest.raises(ValueError, match='must hold tensors'):
        CheckpointLoader.load_checkpoint(str(path))
    assert 'code was run' not in capsys.readouterr().out


# At some lengths PyTorch seeks before the start of the file.
@pytest.mark.parametrize('size', [0, 10, 400, 5000, 8000, 20_000, 0.5, -1])
def test_truncated_file(size, tmp_path):
    torch.save(dict(state_dict=dict(w=torch.zeros(10_000))), tmp_path / 'a.pth')
    data = (tmp_path / 'a.pth').read_bytes()
    size = int(size * len(data)) if isinstance(size, float) else size
    (tmp_path / 'a.pth').write_bytes(data[:size])
    with pytest.raises(ValueError, match=r'a.pth must be a complete PyTorch file, but is truncated or something else'):
        read_checkpoint(tmp_path / 'a.pth')


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'must be an existing file, but got .*none.pth'):
        read_checkpoint(tmp_path / 'none.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match=r'list.pth must hold a dict .* but holds a list'):
        read_checkpoint(tmp_path / 'list.pth')


def test_checkpoint_of_plain_mmengine_is_named_and_upgraded(tmp_path):
    path = tmp_path / 'old.pth'
    write = (
        'import sys, torch; from mmengine.logging import HistoryBuffer; '
        'torch.save(dict(state_dict=dict(w=torch.ones(2)), history=HistoryBuffer([1.0, 3.0], [1, 1])), sys.argv[1])'
    )
    subprocess.run([sys.executable, '-c', write, str(path)], check=True)
    with pytest.raises(ValueError, match=rf'MMEngine without mmmaskany does.*upgrade_checkpoint.py {path}'):
        read_checkpoint(path)
    subprocess.run([sys.executable, str(UPGRADE), str(path)], check=True)
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint['state_dict']['w'], torch.ones(2))
    assert checkpoint['history'].mean() == 2
    assert [file.name for file in tmp_path.iterdir()] == ['old.pth']
