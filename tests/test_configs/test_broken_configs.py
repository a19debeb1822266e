# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Shipped configs with one broken value are refused when they are checked and built, by an error that names it."""

import pytest
from broken import CONFIGS, ROOT, choose, outcome, table

#: What the libraries take without a word, or refuse without naming it, as (class, option, kind).
KNOWN = {
    ('CrossEntropyLoss', 'class_weight', 'type'),
    ('CrossEntropyLoss', 'loss_name', 'type'),
    ('CrossEntropyLoss', 'reduction', 'type'),
    ('CustomDataset', 'classes', 'type'),
    ('DiceLoss', 'reduction', 'type'),
    ('FPNHead', 'feature_strides', 'type'),
    ('GaussianBlur', 'magnitude_std', 'type'),  # 7 is no text, but right all the same
    ('GroupNorm', 'num_groups', 'missing'),
    ('KFoldDataset', 'seed', 'type'),
    ('LoadAnnotations', 'reduce_zero_label', 'type'),
    ('LovaszLoss', 'loss_name', 'type'),
    ('RandomApply', 'transforms', 'type'),
    ('Resize', 'interpolation', 'type'),
    ('VOCDataset', 'type', 'name'),  # the first of two sets is read before the second is looked at
}


@pytest.fixture(scope='module')
def results(full):
    """What became of some hundred breaks in an eighth of the configs, or of all in all of them."""
    chosen = choose(CONFIGS) if full else choose(CONFIGS[::8], libraries=200)
    return [(one, *outcome(one)) for one in chosen]


def test_as_many_as_promised_of_every_kind(results, full):
    assert len(results) > (1300 if full else 300)
    assert {one.path for one, _, _ in results} == set(CONFIGS if full else CONFIGS[::8])
    for ours in (True, False):
        assert {one.kind for one, _, _ in results if one.ours == ours} == {'type', 'range', 'name', 'missing'}


def test_every_error_of_ours_names_the_option(results):
    assert [f'{result}: {one}\n{text}' for one, result, text in results if one.ours and result != 'named'] == []


def test_what_the_libraries_hide_is_known(results):
    hidden = {
        (one.maker.rpartition('.')[2], one.option, one.kind): f'{result}: {one}\n{text}'
        for one, result, text in results
        if not one.ours and result != 'named'
    }
    assert [text for key, text in hidden.items() if key not in KNOWN] == []


@pytest.mark.slow
def test_table_in_the_docs(results):
    counted = table([(one, result) for one, result, _ in results])
    assert counted in (ROOT / 'docs/trust.md').read_text(), f'docs/trust.md must hold this table:\n{counted}'
