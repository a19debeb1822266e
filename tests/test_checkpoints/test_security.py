# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Nothing that comes from elsewhere is executed: checkpoints, downloads, and what is written on a command line."""

import ast
import functools
import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner import load_checkpoint

from mmmaskany.checkpoints.protection import load_url, read_checkpoint, safe_torch_load

ROOT = Path(__file__).resolve().parents[2]
REFUSED = r'must hold tensors and plain values only, but also holds'


class Call:
    """Calls a function when it is unpickled without protection."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def payloads(trace):
    """What an attacker may write: each would leave a file if it were run."""
    return {
        'system': Call(os.system, f'touch {trace}'),
        'open': Call(open, str(trace), 'w'),
        'exec': Call(exec, f'open({str(trace)!r}, "w")'),
        # Through what checkpoints of plain MMEngine do hold.
        'getattr': Call(getattr, '', 'format'),
        'history': Call(getattr, HistoryBuffer, '__init__'),
    }


@pytest.fixture
def trace(tmp_path):
    """A file that must not be there after the test."""
    path = tmp_path / 'trace'
    yield path
    assert not path.exists(), 'code from a file was run'


@pytest.fixture(params=['system', 'getattr'])
def malicious(request, trace, trained):
    """A checkpoint that is good but for one thing in it."""
    path = trace.with_name('malicious.pth')
    torch.save({**read_checkpoint(trained / 'epoch_1.pth'), 'extra': payloads(trace)[request.param]}, path)
    return path


def test_payloads_are_real(tmp_path):
    torch.save(payloads(tmp_path / 'live')['system'], tmp_path / 'payload.pth')
    torch.load(tmp_path / 'payload.pth', weights_only=False)
    assert (tmp_path / 'live').exists()


@pytest.mark.parametrize('name', payloads('trace'))
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'bare'])
def test_payload_is_refused(kind, name, trace, tmp_path):
    path = tmp_path / 'payload.pth'
    content = dict(state_dict={}, extra=payloads(trace)[name])
    if kind == 'bare':
        path.write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    for read in (read_checkpoint, lambda path: load_checkpoint(torch.nn.Linear(1, 1), str(path))):
        with pytest.raises(ValueError, match=REFUSED if kind != 'bare' else 'checkpoint .*payload.pth must'):
            read(path)


@pytest.mark.parametrize('weights_only', [None, False])
def test_nothing_is_read_again_without_protection(weights_only, malicious, trained, monkeypatch):
    """The loaders of the onedl-* forks fall back to weights_only=False when the protected loading was refused."""
    asked, load = [], torch.load

    def noting(*args, weights_only=None, **kwargs):
        asked.append(weights_only)
        return load(*args, weights_only=weights_only, **kwargs)

    monkeypatch.setattr(torch, 'load', noting)
    # What the forks' loaders call, in the place where they look it up; the originals have no such function.
    forks = getattr(checkpoint_module, '_safe_torch_load', safe_torch_load)
    with open(malicious, 'rb') as file:
        for read in (
            lambda: load_checkpoint(torch.nn.Linear(1, 1), str(malicious)),
            lambda: forks(str(malicious), weights_only=weights_only),
            lambda: forks(file, 'cpu', weights_only),
        ):
            with pytest.raises(ValueError, match=REFUSED):
                read()
    assert asked and all(value is True for value in asked)
    assert 'state_dict' in forks(str(trained / 'epoch_1.pth'))  # a training checkpoint needs no fallback
    assert all(value is True for value in asked)


@pytest.mark.parametrize('way', ['resume', 'auto', 'load_from', 'init_cfg', 'test'])
def test_trainings_and_tests_refuse_it(way, malicious, tiny_config, tool, tmp_path):
    run = ['--work-dir', str(tmp_path / 'run')]
    if way == 'auto':
        (tmp_path / 'run').mkdir()
        malicious = malicious.rename(tmp_path / 'run' / 'epoch_1.pth')
    changes = {
        'load_from': dict(load_from=str(malicious)),
        'init_cfg': dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=str(malicious))))),
    }
    config = tiny_config(**changes.get(way, {}))
    args = dict(resume=['--resume', str(malicious)], auto=['--resume'], test=[str(malicious)])
    with pytest.raises(ValueError, match=REFUSED):
        tool('test' if way == 'test' else 'train')([config, *args.get(way, ()), *run])


@pytest.mark.parametrize('name', ['adopt', 'merge', 'publish_model', 'reference_to_mmmaskany', 'upgrade_checkpoint'])
def test_converters_refuse_it(name, malicious, tiny_config, tool, tmp_path):
    options = ['--config', tiny_config()] if name in ('adopt', 'merge') else []
    before = malicious.read_bytes()
    with pytest.raises(ValueError, match=REFUSED):
        tool(f'model_converters/{name}')([str(malicious), str(tmp_path / 'out.pth'), *options])
    assert [path.name for path in tmp_path.glob('*.pth')] == ['malicious.pth'] and malicious.read_bytes() == before


def test_every_converter_is_tried():
    tried = set(test_converters_refuse_it.pytestmark[0].args[1])
    assert {path.stem for path in (ROOT / 'tools/model_converters').glob('*.py')} == tried


# ---------------------------------------------------------------------- downloads


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a folder on this machine: returns it and its address."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    folder = tmp_path / 'served'
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def network(address=None):
    init_cfg = address and dict(type='Pretrained', checkpoint=address, prefix='backbone.')
    host = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    return MODELS.build(dict(type='mmmaskany.MaskAny', backbone=host, init_cfg=init_cfg))


def test_downloads_are_checked_where_the_hash_is_known(serve, trained):
    folder, address = serve
    data = (trained / 'epoch_2.pth').read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    cache = Path(torch.hub.get_dir(), 'checkpoints')
    for name in (f'good-{digest[:8]}.pth', f'long-{digest}.pth', 'none.pth', 'tiny-b.pth', 'of-20250131.pth'):
        (folder / name).write_bytes(data)
        model = network(f'{address}/{name}')
        model.init_weights()
        saved = read_checkpoint(trained / 'epoch_2.pth')['state_dict']
        assert all(torch.equal(tensor, saved[f'backbone.{key}']) for key, tensor in model.state_dict().items())
        assert (cache / name).read_bytes() == data
    for name, content in ((f'cut-{digest[:8]}.pth', data[:-100]), ('other-0123abcd.pth', data)):
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf'{address}/{name} must be the file whose SHA-256 begins with'):
            network(f'{address}/{name}').init_weights()
        assert not (cache / name).exists()


def test_downloads_are_not_executed(serve, malicious):
    folder, address = serve
    malicious.rename(folder / 'plain.pth')
    with pytest.raises(ValueError, match=REFUSED):
        load_url(f'{address}/plain.pth')
    with pytest.raises(ValueError, match=REFUSED):
        load_checkpoint(network(), f'{address}/plain.pth')


# ---------------------------------------------------------------------- sources


SOURCES = [ROOT / 'setup.py', *(path for folder in ('mmmaskany', 'tools') for path in (ROOT / folder).rglob('*.py'))]
#: Calls that run a string, or what a file holds.
FORBIDDEN = {
    'eval',
    'exec',
    'os.system',
    'os.popen',
    'subprocess.getoutput',
    'subprocess.getstatusoutput',
    'pickle.load',
    'pickle.loads',
    'torch.hub.load',
    'torch.hub.load_state_dict_from_url',
    'yaml.load',
    'yaml.unsafe_load',
}


def test_sources_run_no_strings():
    def problems(path):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name, options = ast.unparse(node.func), {option.arg: option.value for option in node.keywords}
            shell = getattr(options.get('shell'), 'value', False)
            protected = getattr(options.get('weights_only'), 'value', None) is True
            if name in FORBIDDEN or shell or (name == 'torch.load' and not protected):
                yield f'{path.relative_to(ROOT)}:{node.lineno} {name}'

    known = ['mmmaskany/environment.py']  # loads what it has just written itself, as torch does by default: protected
    found = [
        problem for path in SOURCES for problem in problems(path) if path.relative_to(ROOT).as_posix() not in known
    ]
    assert found == []
    assert len(SOURCES) > 60


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_scripts_pass_names_on_as_they_are(script, trace, tmp_path):
    hostile = f'a b; touch {trace}; $(touch {trace}) `touch {trace}` "\' * \\ & #.py'
    for name in ('python', 'srun'):
        (tmp_path / name).write_text('#!/bin/sh\n[ "$1" = -c ] || printf "%s\\0" "$@"\n')
        (tmp_path / name).chmod(0o755)
    env = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', PYTHON=str(tmp_path / 'python'))
    before = ['part', 'job'] if script.startswith('slurm') else []
    args = [*before, hostile, '2' if script == 'dist_train.sh' else hostile]
    args += ['2'] if script == 'dist_test.sh' else []
    args += ['--cfg-options', f'a={hostile}']
    done = subprocess.run([str(ROOT / 'tools' / script), *args], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    passed = done.stdout.split('\0')
    assert hostile in passed and passed[-3:-1] == ['--cfg-options', f'a={hostile}']
    assert sys.executable not in passed
