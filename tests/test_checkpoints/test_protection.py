# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends.registry_utils import backends
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as checkpoint_module

from mmmaskany.checkpoints.atomic import serialise
from mmmaskany.checkpoints.format import FORMAT, NewerFormatError
from mmmaskany.checkpoints.protection import protect, read_checkpoint, safe_torch_load

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


def test_what_is_written_loads_everywhere(tmp_path):
    """An inferencer of MMEngine reads a checkpoint before anything of ours is imported."""
    history = HistoryBuffer([1.5, 0.1, 7.0], [2, 1, 4], max_length=5)
    hub = dict(
        log_scalars={'train/loss': history, 'empty': HistoryBuffer()},
        runtime_info=dict(best_score=np.float64(0.1), epoch=np.int64(3), name='a'),
        resumed_keys={'train/loss': True},
    )
    written = dict(meta={}, state_dict={}, message_hub=hub)
    checkpoint_module.save_checkpoint(written, str(tmp_path / 'runner.pth'))
    (tmp_path / 'tool.pth').write_bytes(serialise(written))
    read = 'import sys, torch; print(*[torch.load(path, weights_only=True)["message_hub"] for path in sys.argv[1:]])'
    paths = [str(tmp_path / name) for name in ('runner.pth', 'tool.pth')]
    done = subprocess.run([sys.executable, '-c', read, *paths], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count('max_length') == 4, done.stderr
    assert hub['log_scalars']['train/loss'] is history  # what the Runner goes on with

    for path in paths:
        loaded = read_checkpoint(path)['message_hub']
        for name, before in hub['log_scalars'].items():
            after = loaded['log_scalars'][name]
            assert isinstance(after, HistoryBuffer) and after.max_length == before.max_length
            for one, other in zip(after.data, before.data, strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
        assert loaded['runtime_info'] == hub['runtime_info'] and loaded['resumed_keys'] == hub['resumed_keys']
        assert loaded['log_scalars']['train/loss'].statistics('mean') == history.mean()


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


def test_once_is_enough(tmp_path):
    def replaced():
        module = checkpoint_module
        allowed = len(torch.serialization.get_safe_globals())
        return (
            HistoryBuffer.__reduce__,
            module.load_url,
            module.save_checkpoint,
            dict(CheckpointLoader._schemes),
            allowed,
        )

    before = replaced()
    protect()
    assert replaced() == before
    checkpoint_module.save_checkpoint(dict(state_dict={}), str(tmp_path / 'a.pth'))
    assert read_checkpoint(tmp_path / 'a.pth') == dict(state_dict={}, meta=dict(mmmaskany_format=FORMAT))
    assert replaced() == before
    checkpoint_module.save_checkpoint(dict(weight=torch.ones(1)), str(tmp_path / 'bare.pth'))
    assert list(read_checkpoint(tmp_path / 'bare.pth')) == ['weight']


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A good file, one with code and one of a newer format, wherever MMEngine looks for them, and the switch is off."""
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    contents = dict(good={}, code=dict(extra=Payload()), newer=dict(meta=dict(mmmaskany_format=FORMAT + 1)))
    for name, content in contents.items():
        torch.save(dict(content, state_dict=dict(w=torch.ones(1))), tmp_path / f'{name}.pth')
    (tmp_path / 'open_mmlab.json').write_text('{"good": "good.pth", "code": "code.pth", "newer": "newer.pth"}')

    class Petrel(LocalBackend):
        def get(self, path):
            return (tmp_path / path.removeprefix('s3://')).read_bytes()

    monkeypatch.setitem(backends, 'petrel', Petrel)
    return tmp_path


@pytest.mark.parametrize(
    'address', ['{folder}/{name}.pth', 's3://{name}.pth', 'open-mmlab://{name}', 'openmmlab://{name}']
)
def test_every_kind_of_address_is_protected(address, files, capsys):
    def load(name):
        return CheckpointLoader.load_checkpoint(address.format(folder=files, name=name))

    assert load('good')['state_dict']['w'] == 1
    with pytest.raises(ValueError, match=r'code.pth must hold tensors and plain values only, but also holds .*print'):
        load('code')
    with pytest.raises(NewerFormatError, match=r'newer.pth must be of format'):
        load('newer')
    assert 'code was run' not in capsys.readouterr().out


def test_the_fork_has_no_way_round(files, monkeypatch, capsys):
    """onedl-mmengine's loaders call this function, which reads again without protection what that refused."""

    def unprotected(file, map_location=None, weights_only=None):
        return torch.load(file, map_location=map_location, weights_only=False)

    monkeypatch.setattr(checkpoint_module, '_safe_torch_load', unprotected, raising=False)
    protect()
    assert checkpoint_module._safe_torch_load is safe_torch_load
    for weights_only in (None, True, False):
        with open(files / 'code.pth', 'rb') as file:
            for source in (str(files / 'code.pth'), file):
                with pytest.raises(ValueError, match=r'code.pth must hold tensors and plain values only'):
                    safe_torch_load(source, weights_only=weights_only)
    assert safe_torch_load(files / 'good.pth', map_location='cpu')['state_dict']['w'] == 1
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
    assert checkpoint['meta'] == dict(mmmaskany_format=1)
    assert [file.name for file in tmp_path.iterdir()] == ['old.pth']
