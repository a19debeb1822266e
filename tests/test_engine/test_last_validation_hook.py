# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import shutil


def test_a_run_killed_in_its_last_validation_is_validated(trained, tiny_config, tool, tmp_path):
    run = shutil.copytree(trained, tmp_path / 'run')
    (log,) = run.glob('*/vis_data/scalars.json')
    *records, last = log.read_text().splitlines(keepends=True)
    assert 'lr' not in json.loads(last)
    log.write_text(''.join(records))

    tool('train')([tiny_config(), '--work-dir', str(run), '--resume'])
    again = json.loads(max(run.glob('*/vis_data/scalars.json')).read_text())  # that one record
    expected = json.loads(last)
    assert again['accuracy/top1'] == expected['accuracy/top1']
    assert again['step'] == expected['step'] == 2
