# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A plain script of a user, with MMEngine's Runner and one type of ours somewhere in its config, is protected."""

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmmaskany.checkpoints.format import FORMAT
from mmmaskany.checkpoints.protection import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
WAYS = ('init_cfg', 'load_from', 'resume', 'auto', 'download', 'download_init_cfg')
#: Where our type is, and how the file is come to: every way once, and from every place the one that comes first.
LOADS = [('model', way) for way in WAYS] + [
    ('dataset', 'init_cfg'),
    ('sampler', 'auto'),
    ('hook', 'resume'),
    ('imported', 'load_from'),
]
WEIGHT = torch.tensor([[3.0, 4.0]])


class Touch:
    """Leaves a file when it is unpickled without protection."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    """Run the script once, for all cases: the folder with one of each case."""
    folder = tmp_path_factory.mktemp('plain')
    (folder / 'served').mkdir()
    (folder / 'runs').mkdir()
    good = dict(
        meta=dict(epoch=1, iter=2, dataset_meta=dict(classes=('a', 'b'))),
        state_dict={'layer.weight': WEIGHT, 'layer.bias': torch.zeros(1)},
        message_hub=dict(
            log_scalars={'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])},
            runtime_info={},
            resumed_keys={'train/loss': True},
        ),
    )
    newer = {**good, 'meta': {**good['meta'], 'mmmaskany_format': FORMAT + 1}}
    files = {'good': good, 'evil': {**good, 'extra': Touch(folder / 'trace')}, 'newer': newer}
    for name, content in files.items():
        torch.save(content, folder / 'served' / f'{name}.pth')
    digest = hashlib.sha256((folder / 'served' / 'good.pth').read_bytes()).hexdigest()
    (folder / 'served' / f'good-{digest[:8]}.pth').write_bytes((folder / 'served' / 'good.pth').read_bytes())
    (folder / 'served' / 'good-01234567.pth').write_bytes((folder / 'served' / 'good.pth').read_bytes())

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder / 'served'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    web = f'http://127.0.0.1:{server.server_port}'

    def case(place, way, name):
        download = way.startswith('download')
        file = f'{web}/{name}.pth' if download else str(folder / 'served' / f'{name}.pth')
        loads = dict(download='load_from', download_init_cfg='init_cfg').get(way, way)
        return dict(place=place, way=loads, file=file, folder=str(folder / 'runs' / f'{place}-{way}-{name}'))

    cases = [case(place, way, name) for place, way in LOADS for name in ('good', 'evil')]
    cases += [case('model', way, 'newer') for way in ('init_cfg', 'resume')]
    cases += [case('model', 'download', name) for name in (f'good-{digest[:8]}', 'good-01234567')]
    cases += [case('dataset', 'write', 'none')]
    written = str(folder / 'runs' / 'dataset-write-none' / 'epoch_1.pth')
    cases += [dict(case('model', 'infer', 'none'), file=written)]
    (folder / 'cases.json').write_text(json.dumps(cases))
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', TORCH_HOME=str(folder / 'cache'))
    env['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'  # what people set to resume with plain MMEngine
    script = Path(__file__).with_name('plain_script.py')
    done = subprocess.run(
        [sys.executable, str(script), str(folder / 'cases.json')], env=env, cwd=folder, capture_output=True, text=True
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def answer(ran, place, way, name):
    return json.loads((ran / 'runs' / f'{place}-{way}-{name}' / 'answer.json').read_text())


@pytest.mark.parametrize(('place', 'way'), LOADS)
def test_loading_is_protected(place, way, ran):
    good = answer(ran, place, way, 'good')
    assert good == dict(weight=WEIGHT.tolist(), epoch=2 if way in ('resume', 'auto') else 1)
    assert (
        'evil.pth must hold tensors and plain values only, but also holds posix.system'
        in answer(ran, place, way, 'evil')['error']
    )
    assert not (ran / 'trace').exists(), 'code from a file was run'


@pytest.mark.parametrize('way', ['init_cfg', 'resume'])
def test_a_newer_format_is_refused(way, ran):
    error = answer(ran, 'model', way, 'newer')['error']
    assert f'newer.pth must be of format {FORMAT} or older' in error and 'written by a newer mmmaskany' in error


def test_downloads_are_compared_with_the_hash_in_their_name(ran):
    files = {path.parent.name.partition('good')[2]: path for path in ran.glob('runs/model-download-good-*/answer.json')}
    wrong = json.loads(files.pop('-01234567').read_text())
    assert 'must be the file whose SHA-256 begins with 01234567' in wrong['error']
    (right,) = files.values()
    assert json.loads(right.read_text())['weight'] == WEIGHT.tolist()


def test_every_file_bears_its_format(ran):
    assert answer(ran, 'dataset', 'write', 'none').get('epoch') == 1
    files = sorted((ran / 'runs' / 'dataset-write-none').glob('*.pth'))
    names = [path.name for path in files]
    # published_keys writes the last and the best once more, with their tensors alone.
    assert len(files) == 5 and {'best_score_epoch_1.pth', 'by_hand.pth', 'epoch_1.pth'} < set(names), names
    for path in files:
        content = read_checkpoint(path)
        assert content['meta']['mmmaskany_format'] == FORMAT
        assert ('ema_state_dict' in content) == (path.name in ('best_score_epoch_1.pth', 'epoch_1.pth'))


def test_an_inferencer_reads_a_training_checkpoint_before_anything_of_ours_is_imported(ran):
    saved = read_checkpoint(ran / 'runs' / 'dataset-write-none' / 'epoch_1.pth')
    weight = saved['state_dict']['layer.weight'].tolist()
    assert answer(ran, 'model', 'infer', 'none') == dict(weight=weight)
