# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The public names in fresh processes, as a config meets them: nothing of mmmaskany is imported before."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

ROOT = Path(__file__).parents[1]

NAMES = {
    'MODELS': [
        *('PatchPattern', 'GridPattern', 'RandomPattern', 'BlockPattern', 'NoisePattern', 'MixturePattern'),
        *('ConstantFill', 'MeanFill', 'TokenFill', 'ImageFill', 'Masking', 'MaskAny', 'MaskResNet'),
        *('MaskSwinTransformer', 'MaskVisionTransformer', 'MaskEfficientNetV2'),
        *('AddFusion', 'ConcatFusion', 'GatedFusion'),
        *('MaskAnyNeck', 'MaskAnyClsHead', 'MaskAnyDataPreprocessor', 'PatternMAEViT'),
        *('MaskSubClassifier', 'DropTokens', 'ReplacePatches', 'FillCells', 'HideFromLayers'),
        *('MaskSubSegmentor', 'MaskSubDetector', 'MaskedDetector', 'MaskedSegmentor'),
    ],
    'MODEL_WRAPPERS': ['OwnStepDistributedDataParallel'],
    'TRANSFORMS': ['MaskRegions', 'AugmentReused', 'PackMaskAnyInputs', 'PatternMask', 'MaskObjects'],
    'DATASETS': ['SeededDataset'],
    'DATA_SAMPLERS': ['SeededSampler'],
    'HOOKS': ['SeedHook', 'AtomicCheckpointHook', 'LaunchCheckHook', 'MaskScheduleHook'],
}

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmdet', 'mmseg'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Block())
"""

CLASSIFY = """
import torch
from mmengine.registry import init_default_scope

init_default_scope('mmpretrain')
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

model = MODELS.build(dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='mmmaskany.MaskAnyDataPreprocessor', num_classes=3),
    backbone=dict(
        type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet', depth=18), fuse_at='neck',
        masking=dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))),
    neck=dict(
        type='mmmaskany.MaskAnyNeck', in_channels=512, neck=dict(type='GlobalAveragePooling'), with_branches=True),
    train_cfg=dict(augments=dict(
        type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))),
    head=dict(
        type='mmmaskany.MaskAnyClsHead', num_classes=3, in_channels=512, visible_weight=1.0, reused_weight=1.0,
        loss=dict(type='CrossEntropyLoss')),
))
data = dict(inputs=torch.zeros(2, 3, 64, 64), data_samples=[DataSample().set_gt_label(i) for i in range(2)])
data = model.data_preprocessor(data, training=True)
losses = model(**data, mode='loss')
print(*losses)
sum(losses.values()).backward()
"""


CLEAN = """
import os, sys
import mmengine, torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, checkpoint, runner

def state():
    allowed = set(map(str, torch.serialization.get_safe_globals()))
    functions = (HistoryBuffer.__reduce__, checkpoint.load_url, checkpoint.save_checkpoint, runner.save_checkpoint)
    return functions, dict(CheckpointLoader._schemes), allowed, list(sys.meta_path)

modules, before = set(sys.modules), state()
import mmmaskany
added = set(sys.modules) - modules
assert added == {'mmmaskany', 'mmmaskany.registry', 'mmmaskany.version'}, added
assert state() == before
import mmmaskany.checkpoints.protection, mmmaskany.hub
assert state() == before and 'mmpretrain' not in sys.modules
import mmpretrain.datasets, mmpretrain.models
finders = list(sys.meta_path)
for part in ('models', 'datasets', 'engine'):
    if os.fork() == 0:  # each in a process of its own, that has imported the libraries already
        try:
            __import__(f'mmmaskany.{part}')
            after = state()
            assert all(new is not old for new, old in zip(after[0], before[0])), 'not protected'
            assert after[2] > before[2] and sys.meta_path == finders
            names = mmpretrain.list_models('maskany_resnet18-narrow*digits') if part == 'models' else ['-']
            assert names, 'not in the hub'
            print(part, flush=True)
        finally:
            os._exit(0)
    os.wait()
"""


def run(code, **environment):
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run([sys.executable, '-c', code], env=env, cwd='/', capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmdet', 'mmseg'])
def test_names_resolve_from_each_library(scope):
    pytest.importorskip(scope)
    result = run(f"""
import sys
from mmengine.registry import init_default_scope
init_default_scope({scope!r})
import {scope}.registry as registry
assert not any(name.startswith('mmmaskany') for name in sys.modules)
for node, names in {NAMES!r}.items():
    for name in names:
        found = getattr(registry, node).get('mmmaskany.' + name)
        assert found is not None and found.__module__.startswith('mmmaskany.'), (node, name, found)
neck = registry.MODELS.build(dict(type='mmmaskany.MaskAnyNeck', in_channels=4, fusion='gated'))
assert type(neck.fusions[0]).__name__ == 'GatedFusion'
from mmengine.registry import MODELS
patch = dict(type='mmmaskany.PatchPattern', scale=0.5)
MODELS.build(dict(type='mmmaskany.MixturePattern', patterns=[patch], probs=[1]))
print('all found')
""")
    assert result.stdout.endswith('all found\n'), result.stderr


@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_build_on_those_of_the_libraries(library, tmp_path):
    """Whichever set of libraries is installed: MMEngine itself knows the name of the original distribution only."""
    pytest.importorskip(library)
    import mmmaskany.registry  # noqa: F401

    (tmp_path / 'config.py').write_text(f"_base_ = '{library}::_base_/default_runtime.py'")
    assert Config.fromfile(tmp_path / 'config.py').env_cfg.mp_cfg.mp_start_method == 'fork'
    assert MODULE2PACKAGE[library] == library


def test_classification_works_where_the_other_libraries_are_missing():
    result = run(BLOCK + CLASSIFY)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-3:] == ['loss', 'loss_visible', 'loss_reused']


def test_importing_the_package_replaces_nothing_and_its_parts_protect():
    result = run(CLEAN)
    # The forks print a line of their own before.
    assert result.stdout.splitlines()[-3:] == ['models', 'datasets', 'engine'], result.stdout + result.stderr


def test_import_costs_next_to_nothing():
    spec = importlib.util.spec_from_file_location('tool', ROOT / 'tools' / 'analysis_tools' / 'benchmark_import.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for _ in range(3):  # a busy machine may spoil one
        found = tool.measure()
        assert found['modules'] == ['mmmaskany', 'mmmaskany.registry', 'mmmaskany.version'] and found['finders'] == []
        if found['seconds'] < 0.05:
            return
    pytest.fail(f'it takes {found["seconds"]:.3f} s')


def test_parts_need_no_module_of_one_system():
    result = run("""
import sys
sys.modules['fcntl'] = sys.modules['resource'] = None
import mmmaskany.experiments.runs, mmmaskany.datasets, mmmaskany.engine, mmmaskany.models
from pathlib import Path
with mmmaskany.experiments.runs._claim(Path()) as inherited:
    assert inherited == []
print('done')
""")
    assert result.stdout.endswith('done\n'), result.stderr


def test_nothing_imports_the_other_libraries():
    # mmpretrain imports mmdet by itself where it is installed, so they are blocked and everything is imported.
    result = run(
        BLOCK
        + """
import importlib, pkgutil, mmmaskany
for module in pkgutil.walk_packages(mmmaskany.__path__, 'mmmaskany.'):
    importlib.import_module(module.name)
assert 'mmdet' not in sys.modules and 'mmseg' not in sys.modules
print('done')
"""
    )
    assert result.stdout.endswith('done\n'), result.stderr


@pytest.mark.parametrize(
    ('broken', 'node', 'name'),
    [
        ('mmmaskany.models.heads.maskany_cls_head', 'MODELS', 'MaskAnyNeck'),
        ('mmmaskany.datasets.transforms.formatting', 'TRANSFORMS', 'MaskRegions'),
    ],
)
def test_a_broken_import_is_loud(broken, node, name):
    result = run(f"""
import sys
sys.modules[{broken!r}] = None
import mmpretrain.registry as registry
registry.{node}.get('mmmaskany.{name}')
""")
    assert result.returncode != 0
    assert f'import of {broken} halted' in result.stderr
