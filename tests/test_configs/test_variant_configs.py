# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped variants are what tools/misc/variant_configs.py makes of their configs."""

import runpy
import shutil
from pathlib import Path

import pytest
from shipped import ROOT, load

from mmmaskany.experiments import variant_rules

SCRIPT = runpy.run_path(str(ROOT / 'tools/misc/variant_configs.py'))


def test_shipped_variants_are_current(capsys, monkeypatch):
    monkeypatch.setattr(variant_rules, 'read_config', lambda path: load(Path(path)))  # which reads each once
    assert SCRIPT['main'](['--check', '--root', str(ROOT)]) == 0, capsys.readouterr().out
    found = [*SCRIPT['shipped'](ROOT)]
    bases = {base for _, _, base in found}
    for base in bases:
        assert {'unmasked', 'noreuse'} <= {name for _, name, of in found if of == base}
    assert ROOT / 'configs/maskany_r50_in1k.py' in bases
    # Only these are written by hand: nothing masks in the model beside them.
    named = {
        path
        for path in (ROOT / 'configs').rglob('*.py')
        if any(f'-{name}_' in path.stem for name in variant_rules.RULES)
    }
    assert {path.stem.rsplit('_')[-1] for path in named - {path for path, _, _ in found}} == {
        'cifar100-224px',
        'tiny-imagenet-224px',
    }


def test_variants_are_added_and_kept_current(tmp_path, capsys):
    config = tmp_path / 'configs/maskany/maskany_tiny_1xb8-coslr-2e_squares.py'
    config.parent.mkdir(parents=True)
    base = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
    shutil.copytree(ROOT / 'configs/_base_', tmp_path / 'configs/_base_')
    config.write_text(base.read_text())
    assert SCRIPT['main']([str(config), 'unmasked', 'noreuse']) == 0
    unmasked, noreuse = (
        config.with_name(f'maskany_tiny-{name}_1xb8-coslr-2e_squares.py') for name in ('unmasked', 'noreuse')
    )
    assert [line.removeprefix('wrote: ') for line in capsys.readouterr().out.split('\n')[:2]] == [
        str(unmasked),
        str(noreuse),
    ]
    assert load(unmasked).model.backbone.masking is None
    check = ['--check', '--root', str(tmp_path)]
    assert SCRIPT['main'](check) == 0
    text = noreuse.read_text()
    noreuse.write_text(text.replace('False', 'True'))
    assert SCRIPT['main'](check) == 1
    assert capsys.readouterr().out == f'out of date: {noreuse}\n'
    assert SCRIPT['main'](check[1:]) == 0 and noreuse.read_text() == text
    with pytest.raises(FileNotFoundError, match='CONFIG must be a file, but there is no tiny.py'):
        SCRIPT['main'](['tiny.py', 'noreuse'])
    (tmp_path / 'tiny.py').write_text('')
    with pytest.raises(ValueError, match='name of a config must be method_network_recipe_data, but got tiny'):
        SCRIPT['main']([str(tmp_path / 'tiny.py'), 'noreuse'])
    with pytest.raises(ValueError, match="one of unmasked, noreuse, .*, pipeline, but got 'plain'"):
        SCRIPT['main']([str(config), 'plain'])
