# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""tools/analysis_tools/benchmark_checks.py measures starts that go through: its set is good, and its config fits."""

import runpy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmaskany.engine.checks.config import check_config
from mmmaskany.engine.checks.data import check_data

TOOL = Path(__file__).resolve().parents[2] / 'tools/analysis_tools/benchmark_checks.py'


def test_the_set_and_its_config(tmp_path):
    pytest.importorskip('mmdet')
    tool = runpy.run_path(str(TOOL))
    for split, images, annotations in (('train', 9, 240), ('val', 3, 80)):
        tool['write_coco'](tmp_path, split, images, annotations)
    cfg = Config.fromfile(tool['write_config'](tmp_path))
    check_config(cfg)
    surveys = check_data(cfg, ('train', 'val'))
    assert [str(finding) for survey in surveys for finding in survey.findings] == []
    assert [survey.facts['images'] for survey in surveys] == ['9', '3']
    assert set(surveys[0].counts.values()) == {3} and len(surveys[0].counts) == 80
