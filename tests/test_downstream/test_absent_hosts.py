# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Classification needs neither mmdet nor mmseg."""

import os
import subprocess
import sys
from pathlib import Path

TRAIN = Path(__file__).resolve().parents[2] / 'tools/train.py'


def test_classification_without_mmdet_and_mmseg(tiny_config, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text('import sys\nsys.modules.update(mmdet=None, mmseg=None)\n')
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))

    def run(*command):
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env)

    assert 'import of mmdet halted' in run('-c', 'import mmdet').stderr
    config = tiny_config(train_cfg=dict(max_epochs=1))
    done = run(str(TRAIN), config, '--work-dir', str(tmp_path / 'run'))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run/epoch_1.pth').is_file()
