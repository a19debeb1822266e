# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany.experiments.runs import mean_spread
from mmmaskany.experiments.tables import grouped, markdown_table, write_csv


def test_rows_are_grouped_in_their_order():
    rows = [dict(a='y', b=1), dict(a='x', b=2), dict(a='y', b=3)]
    assert grouped(rows, 'a') == {'y': [rows[0], rows[2]], 'x': [rows[1]]}
    assert list(grouped(rows, 'a')) == ['y', 'x']


def test_mean_and_spread():
    assert mean_spread([1.0, 3.0]) == '2.00 ± 1.41'
    assert mean_spread([2.0], '+') == '+2.00'
    assert mean_spread([]) == ''


def test_csv(tmp_path):
    write_csv([{'a': 1, 'top-1 (%)': 2.5}, {'a': None, 'top-1 (%)': 3}], tmp_path / 'new' / 'x.csv')
    assert (tmp_path / 'new' / 'x.csv').read_text() == 'a,top-1 (%)\n1,2.5\n,3\n'


def test_markdown():
    head, rows = ['what', 'how much', 'of'], [['a|b', '1.0', 'x'], ['long one', '12.0', 'y']]
    assert markdown_table(head, rows, words=(0, 2)) == (
        '| what | how much | of |\n| --- | ---: | --- |\n| a\\|b | 1.0 | x |\n| long one | 12.0 | y |\n'
    )
    assert markdown_table(head, rows, words=(0, 2), aligned=True).splitlines()[1:3] == [
        '| -------- | -------: | --- |',
        '| a\\|b     |      1.0 | x  |',
    ]
