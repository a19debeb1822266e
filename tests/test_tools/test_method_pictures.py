# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The pictures of docs/methods show what the classes do, are shipped, and come out the same every time."""

import runpy
from pathlib import Path

import cv2
import pytest
import torch

ROOT = Path(__file__).parents[2]
DOCS = ROOT / 'docs/methods'
TOOL = runpy.run_path(str(ROOT / 'docs/figures/method_pictures.py'))
METHODS = TOOL['METHODS']


def masked(panel):
    """Read a mask from its panel."""
    return (panel == TOOL['MASKED']).all(-1)


def panels(name):
    """Return photo, and of each row its panels after that."""
    rows = [row for _, row in TOOL['make'](name).rows]
    return rows[0][0], [row[1:] for row in rows]


def pair(name, at=0):
    """Yield photo, mask and what the network sees of each row."""
    photo, rows = panels(name)
    for row in rows:
        yield photo, masked(row[at]), row[at + 1]


@pytest.mark.parametrize(('name', 'share'), [('cutout', 0.25), ('gridmask', 0.25), ('random-cells', None)])
def test_masked_is_filled_and_the_rest_is_the_photo(name, share):
    for at in (0, 2):
        for index, (photo, mask, seen) in enumerate(pair(name, at)):
            torch.testing.assert_close(seen[~mask], photo[~mask])
            if share and not (name == 'cutout' and index):
                assert mask.float().mean() == share
            colors = seen[mask].unique(dim=0)
            assert len(colors) == 1
            if name == 'random-cells':  # near the mean colour, for the token starts near 0
                torch.testing.assert_close(colors[0], TOOL['MEAN'].flatten(), atol=0.02, rtol=0)
            else:
                assert colors.abs().max() < 1e-6


def test_blocks_have_the_mean_of_the_photo():
    for photo, mask, seen in pair('blocks'):
        torch.testing.assert_close(seen[mask], photo.mean((0, 1)).expand(int(mask.sum()), 3), atol=1e-4, rtol=0)


def test_reused_view_is_made_of_the_masked_cells():
    photo, rows = panels('maskany')
    for mask, visible, reused in rows:
        assert masked(mask).float().mean() == 0.25
        assert reused.shape == (112, 112, 3)
        torch.testing.assert_close(reused.flatten().sort().values, photo[masked(mask)].flatten().sort().values)
        torch.testing.assert_close(visible[~masked(mask)], photo[~masked(mask)])


def test_the_noise_shown_is_the_one_that_was_ranked():
    _, rows = panels('noise')
    assert len(rows) == 4
    for noise, mask, _ in rows:
        values, hidden = noise[::8, ::8, 0], masked(mask)[::8, ::8]
        assert hidden.float().mean() == 0.5
        assert values[hidden].min() >= values[~hidden].max()


def test_tokens_of_the_encoder_are_the_visible_patches():
    photo, rows = panels('mae')
    for mask, in_place, tokens in rows:
        mask = masked(mask)
        assert mask.float().mean() == 0.75
        torch.testing.assert_close(in_place[~mask], photo[~mask])
        assert (in_place[mask] == 1).all()
        assert tokens.shape == (64, 224, 3) and (tokens[48:, 112:] == 1).all()  # 49 in rows of 14
        shown = torch.cat([tokens[:48].flatten(0, 1), tokens[48:, :112].flatten(0, 1)])
        torch.testing.assert_close(shown.sort(0).values, photo[~mask].sort(0).values)


def test_sub_branch_of_each_kind():
    photo, (drop, replace, fill) = panels('masksub')
    for mask, seen, _ in (drop, replace, fill):
        share = masked(mask).float().mean().item()
        assert share == pytest.approx(0.5, abs=1 / 98)  # of 7 x 7 cells of 32 px an exact half is 25
        torch.testing.assert_close(seen[~masked(mask)], photo[~masked(mask)], atol=1e-4, rtol=0)
    assert drop[2].shape == (112, 224, 3)  # 98 tokens, in order
    torch.testing.assert_close(
        drop[2].flatten(0, 1).sort(0).values, photo[~masked(drop[0])].sort(0).values, atol=1e-4, rtol=0
    )
    assert replace[2] is None and fill[2] is None
    torch.testing.assert_close(fill[1][masked(fill[0])].unique(dim=0)[0], TOOL['MEAN'].flatten())


def test_layers_see_less_than_all_and_no_fill():
    for _, (filled, *views) in TOOL['make']('layer-masking').rows:
        share = (filled.abs() < 1e-6).all(-1).float().mean().item()
        white = [(view > 1 - 1e-6).all(-1).float().mean().item() for view in views]
        assert share >= 0.3 and share >= white[0] > white[1] > white[3] and white[0] > white[2] > white[3]
        assert all(not (view.abs() < 1e-6).all(-1).any() for view in views)  # nothing is black


def test_a_schedule_masks_more_and_more():
    sheet = TOOL['make']('schedule')
    black = [[(panel.abs() < 1e-6).all(-1).float().mean().item() for panel in panels] for _, panels in sheet.rows]
    for visible in (black[0], black[2]):
        assert visible == pytest.approx([0.0625, 0.14, 0.25, 0.39, 0.5625], abs=0.025)
    assert all(panel.shape == (112, 112, 3) for row in (1, 3) for panel in sheet.rows[row][1])


def test_mixed_images_have_the_label_of_their_area():
    sheet = TOOL['make']('maskmix')
    temple, flower = sheet.rows[0][1][:2]
    for row, (_, (*_, mask, mixed)) in enumerate(sheet.rows):
        mask = masked(mask)
        torch.testing.assert_close(mixed[mask], flower[mask])
        torch.testing.assert_close(mixed[~mask], temple[~mask])
        share = mask.float().mean().item()
        assert sheet.titles[row, 3].endswith(f'{1 - share:.2f} temple, {share:.2f} flower')


def test_written_the_same_every_time_and_by_name(tmp_path, capsys):
    for folder in ('a', 'b'):
        torch.rand(1)  # whatever was drawn before
        assert TOOL['main'](['cutout', '--out', str(tmp_path / folder)]) == 0
    assert (tmp_path / 'a/cutout.png').read_bytes() == (tmp_path / 'b/cutout.png').read_bytes()
    assert cv2.imread(str(tmp_path / 'a/cutout.png')).shape == cv2.imread(str(DOCS / 'figures/cutout.png')).shape
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['cutout.png']
    capsys.readouterr()
    assert TOOL['main'](['cutout', 'cutin', '--out', str(tmp_path / 'c')]) == 1
    assert 'error: METHOD must be one of maskany, masksub' in capsys.readouterr().err
    assert not (tmp_path / 'c').exists()


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TOOL['make']('maskmix')
    assert torch.equal(torch.rand(3), expected)


def test_every_picture_is_shipped():
    shipped = {path.stem for path in (DOCS / 'figures').glob('*.png')} - {'mixmask_sheet'}  # made by another tool
    assert shipped == set(METHODS)
