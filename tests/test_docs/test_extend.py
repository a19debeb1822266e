# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The package of docs/extend.md: every snippet runs, and everything takes what is in it."""

import csv
import importlib
import json
import re
import runpy
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT

from mmmaskany.analysis.named_patterns import masked_share, pattern_cfg
from mmmaskany.builder import build_fill, build_masking, build_pattern, known_parts
from mmmaskany.datasets.transforms import MaskRegions, PatternMask
from mmmaskany.engine.checks.config import check_config
from mmmaskany.engine.hooks import MaskScheduleHook
from mmmaskany.experiments.runs import Result
from mmmaskany.masking import ConstantFill, Draw, Masking, MixturePattern, draw_masks
from mmmaskany.models.backbones import MaskAny, MaskResNet
from mmmaskany.models.batch_augments import MaskMix
from mmmaskany.models.necks import MaskAnyNeck
from mmmaskany.models.selfsup import PatternMAEViT
from mmmaskany.models.stems import find_stem

PAGE = ROOT / 'docs/extend.md'
SNIPPETS = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope='module')
def guest(tmp_path_factory):
    """Write the package of the page into a folder of its own and import it from there."""
    root = tmp_path_factory.mktemp('foreign')
    for snippet in SNIPPETS:
        name = re.match(r'# ([\w/]+\.py)\n', snippet)
        if name:
            path = root / name[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(snippet)
    sys.path.insert(0, str(root))
    yield root
    sys.path.remove(str(root))


@pytest.fixture
def ours(guest, monkeypatch):
    """Let other processes find the package, too, and import it."""
    monkeypatch.setenv('PYTHONPATH', f'{guest}:{ROOT}')
    return importlib.import_module('guest')


@pytest.fixture
def config(guest, ours, write_config, tmp_path):
    """Write the config of the page over the tiny one: ``config(name, **changes)``."""

    def write(name='own', **changes):
        page = Config.fromfile(guest / 'guest_config.py')
        loader = dict(num_workers=0, persistent_workers=False)
        own = dict(custom_imports=page.custom_imports, model=page.model, train_dataloader=loader, val_dataloader=loader)
        path = write_config(tmp_path, name, **own)
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(changes)
        cfg.dump(path)
        return path

    return write


# ---------------------------------------------------------------------- the page


def test_every_snippet_runs(ours):
    rest = [snippet for snippet in SNIPPETS if not snippet.startswith('# guest')]
    assert len(rest) == 1
    exec(rest[0], space := {})
    assert space['draw'].mask.shape == (4, 56, 56)
    kept = space['attention'].flatten(1).sort(1).values[:, -49:].mean(1)
    cells = space['draw'].mask[:, ::4, ::4]
    assert torch.allclose((space['attention'] * cells).flatten(1).sum(1) / 49, kept)
    assert torch.equal(space['again'].reused, space['reused']) and space['again'].draw is space['draw']
    assert torch.equal(space['outlined'].reused, space['images'][:, :, 56:168, 56:168])  # 14 x 14 cells of 8 px


def test_links_of_the_page():
    for link in re.findall(r'\]\((?!http)([^)#]+)', PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link


# ---------------------------------------------------------------------- the commands


def weights(folder, epoch):
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


def test_a_package_trains_and_resumes(config, tool, tmp_path):
    path = config()
    tool('train')([path, '--work-dir', str(tmp_path / 'whole')])
    tool('train')([path, '--work-dir', str(tmp_path / 'halves'), '--cfg-options', 'train_cfg.max_epochs=1'])
    tool('train')([path, '--work-dir', str(tmp_path / 'halves'), '--resume'])
    whole, halves = weights(tmp_path / 'whole', 2), weights(tmp_path / 'halves', 2)
    assert 'backbone.entry.norm.fusion.share' in whole and 'backbone.entry.norm.reused.conv.weight' in whole
    assert whole.keys() == halves.keys() and all(torch.equal(whole[key], halves[key]) for key in whole)
    assert not torch.equal(whole['backbone.entry.norm.fusion.share'], torch.full((16, 1, 1), 0.5))


def test_classes_in_a_pure_python_config(guest, ours, image_folder, tool, tmp_path):
    path = tmp_path / 'lazy.py'
    loader = (
        'dict(batch_size=8, num_workers=0, dataset=dict(type=CustomDataset, data_root={root!r}, data_prefix={split!r}, '
    )
    loader += 'pipeline=[dict(type=LoadImageFromFile), {more}dict(type=PackInputs)]), '
    loader += 'sampler=dict(type=DefaultSampler, shuffle={shuffle}))'
    own = dict(root=str(image_folder))
    train = loader.format(split='train', more='dict(type=RandomFlip, prob=0.5), ', shuffle=True, **own)
    val = loader.format(split='val', more='', shuffle=False, **own)
    text = (guest / 'guest_lazy_config.py').read_text()
    path.write_text(
        text
        + f"""
from mmcv.transforms import LoadImageFromFile, RandomFlip
from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper
from torch.optim import SGD
from mmpretrain.datasets import CustomDataset, PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead

default_scope = 'mmpretrain'
model = dict(
    type=ImageClassifier,
    data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[127.5] * 3),
    backbone=backbone,
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=3, in_channels=32, topk=(1,)),
)
train_dataloader = {train}
val_dataloader = {val}
val_evaluator = dict(type=Accuracy, topk=(1,))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01))
randomness = dict(seed=0)
"""
    )
    cfg = Config.fromfile(path)
    check_config(cfg)
    tool('train')([str(path), '--work-dir', str(tmp_path / 'run')])
    assert 'backbone.entry.norm.fusion.share' in weights(tmp_path / 'run', 1)
    # Written out, as every run keeps its config, classes are named by their modules: it must be the same still.
    written = Config.fromfile(tmp_path / 'run/lazy.py')
    check_config(written)
    init_default_scope('mmpretrain')
    assert repr(MODELS.build(written.model).backbone.masking.pattern) == repr(
        build_pattern(cfg.backbone.masking.pattern)
    )
    ablate = runpy.run_path(str(ROOT / 'tools/analysis_tools/ablate_masks.py'))
    variant = dict(type='guest.DiscPattern', scale=0.5, cell=4)
    variant = Config.fromfile(ablate['write_config'](cfg, tmp_path / 'variant.py', variant, 0.5))
    assert build_pattern(variant.model.backbone.masking.pattern).patterns[0].name == 'disc'
    with pytest.raises(
        TypeError, match=r'masking\.pattern\.patterns\.0\.sacle must be an option of DiscPattern, which'
    ):
        cfg.model.backbone.masking.pattern.patterns[0].sacle = 0.5
        check_config(cfg)


def test_a_package_is_browsed(config, tmp_path, monkeypatch):
    browse = runpy.run_path(str(ROOT / 'tools/visualization/browse_masks.py'))
    shown = {}
    main = browse['main']
    monkeypatch.setitem(main.__globals__, 'sheet', lambda rows, title: rows)
    monkeypatch.setitem(
        main.__globals__, 'save_figure', lambda rows, path, **_: shown.setdefault(path.name, rows) and [path]
    )
    assert main([config(), '--out', str(tmp_path / 'masks'), '--num-images', '4']) == 0
    assert set(shown) == {'training', 'disc', 'edge', 'grid', 'patterns'}
    labels = [label.partition('\n')[0] for label, _ in shown['patterns']]
    assert labels[-4:] == ['disc', 'edge', 'mixture', 'unmasked'] and 'grid' in labels

    shown.clear()  # in a data pipeline the mask follows the image, too
    step = dict(type='mmmaskany.MaskRegions', pattern=dict(type='guest.EdgePattern', scale=0.5, cell=4))
    pipeline = [dict(type='LoadImageFromFile'), step, dict(type='mmmaskany.AugmentReused')]
    path = config('pipeline')
    cfg = Config.fromfile(path)
    cfg.model.backbone.masking = None
    cfg.model.train_cfg = None
    cfg.model.data_preprocessor.type = 'mmmaskany.MaskAnyDataPreprocessor'
    cfg.train_dataloader.dataset.pipeline = [*pipeline, dict(type='mmmaskany.PackMaskAnyInputs')]
    cfg.dump(path)
    assert main([path, '--out', str(tmp_path / 'masks'), '--num-images', '2']) == 0
    panels = [panel for _, line in shown['training'] for panel in line]
    assert len(panels) == 2 and not np.array_equal(panels[0].mask, panels[1].mask)


def test_a_package_is_ablated(config, tmp_path, capfd):
    ablate = runpy.run_path(str(ROOT / 'tools/analysis_tools/ablate_masks.py'))['main']
    out = tmp_path / 'runs'
    finished = Result('', 'unmasked', 0, 'unmasked', ['randomness.seed=0'], {'accuracy/top1': 50.0}, None, None)
    (out / 'unmasked/seed0').mkdir(parents=True)
    (out / 'unmasked/seed0/run.json').write_text(json.dumps(dict(config='unmasked', options=finished.options)))
    (out / 'unmasked/seed0/result.json').write_text(json.dumps(asdict(finished)))
    path = config(train_cfg=dict(max_epochs=1))
    command = [str(out), path, '--scales', '0.5', '--cell', '4', '--seeds', '0', '--patterns']
    assert ablate([*command, 'guest.EdgePattern']) == 0
    with (out / 'ablation.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [(row['pattern'], row['masked']) for row in rows] == [('unmasked', '0.0'), ('guest.EdgePattern', '0.25')]
    trained = Config.fromfile(next((out / 'guest.EdgePattern_scale0.5/seed0').glob('*.py')))
    assert trained.model.backbone.masking.pattern.patterns[0] == pattern_cfg('guest.EdgePattern', 16, 4, scale=0.5)
    capfd.readouterr()
    for name, message in (
        ('guest.EgdePattern', "but got 'guest.EgdePattern' in {'type': 'guest.EgdePattern'}; did you mean guest.EdgeP"),
        ('guest.StaticFill', 'pattern must be a Pattern or MixturePattern, but got StaticFill'),
        ('mmmaskany.RankedPattern', 'must do with images, but RankedPattern needs scores'),
    ):
        assert ablate([*command, name]) == 2
        assert message in capfd.readouterr().err


# ---------------------------------------------------------------------- every place that takes one


def image(seed=0, size=16):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def images(batch=3, size=16):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


DISC, EDGE = (dict(type=f'guest.{name}Pattern', scale=0.5, cell=4) for name in ('Disc', 'Edge'))
BRIGHT = dict(type='guest.BrightPattern', ratio=0.5, cell=4)


def test_scopes_of_the_libraries_find_a_guest(ours):
    for scope in ('mmpretrain', 'mmdet', 'mmseg', 'mmengine'):
        init_default_scope(scope)
        assert build_pattern(DISC).name == 'disc'
        assert build_fill(dict(type='guest.StaticFill'))(images(), torch.ones(3, 1, 16, 16).bool()).std() > 0.5
    init_default_scope('mmpretrain')
    from mmpretrain.registry import MODELS as MMPRETRAIN

    own = MMPRETRAIN.register_module(name='OwnDisc', module=ours.patterns.DiscPattern, force=True)
    for cfg in (dict(type='OwnDisc'), dict(type='mmpretrain.OwnDisc'), dict(type=own), DISC | dict(_scope_='mmseg')):
        assert type(build_pattern(dict(scale=0.5, cell=4) | cfg)) is ours.patterns.DiscPattern
    assert {'guest.DiscPattern', 'mmpretrain.OwnDisc', 'mmmaskany.MixturePattern'} <= {
        *known_parts((ours.patterns.Pattern, MixturePattern))
    }


@pytest.mark.parametrize('cfg', [DISC, EDGE, BRIGHT], ids=lambda cfg: cfg['type'])
def test_transforms(ours, cfg):
    pattern = build_pattern(cfg)
    reuse = pattern.scale is not None
    shown = image()
    torch.manual_seed(1)
    results = MaskRegions(cfg, fill=7, reuse=reuse)(dict(img=shown))
    torch.manual_seed(1)
    batch = torch.from_numpy(shown).permute(2, 0, 1)[None].float()
    visible, reused, draw = Masking(pattern, ConstantFill(7), reuse=reuse)(batch)
    assert results['masked'] and 0 < draw.ratio < 1
    np.testing.assert_array_equal(results['img'], visible[0].permute(1, 2, 0).numpy().astype(np.uint8))
    if reuse:
        np.testing.assert_array_equal(results['reused_img'], reused[0].permute(1, 2, 0).numpy().astype(np.uint8))
    torch.manual_seed(1)
    tokens = PatternMask({**cfg, 'base': 4})(dict(img=shown))['mask']
    assert tokens.tolist() == draw.refine(1, 16, 16).mask[0, ::4, ::4].int().tolist()


def test_an_image_that_is_not_masked(ours):
    results = MaskRegions(BRIGHT, reuse=False)(dict(img=np.full((16, 16, 3), 9, np.uint8)))
    assert results['masked'] is False and (results['img'] == 9).all() and results['reused_img'].shape == (16, 16, 3)


@pytest.mark.parametrize('cfg', [DISC, EDGE], ids=lambda cfg: cfg['type'])
def test_models(ours, cfg):
    init_default_scope('mmpretrain')
    batch = images()
    mixed = MaskMix(cfg).mix(batch)
    assert mixed.kept.tolist() == [0.75] * 3
    assert torch.equal(mixed.images, torch.where(mixed.mask, batch.roll(1, 0), batch))

    cells = MODELS.build(dict(type='mmmaskany.FillCells', pattern=cfg, fill=dict(type='guest.StaticFill')))
    with cells.masked(None, batch) as filled:
        assert ((filled != batch).any(1).float().mean((1, 2)) - 0.25).abs().max() < 1e-6

    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    vit = MODELS.build(dict(type='VisionTransformer', arch=arch, img_size=16, patch_size=4))
    lengths = []
    for kind, count in (('DropTokens', 13), ('ReplacePatches', 17)):
        masking = MODELS.build(dict(type=f'mmmaskany.{kind}', pattern=cfg))
        masking.bind(vit)
        with (
            masking.masked(vit, batch) as seen,
            vit.layers[1].register_forward_hook(lambda _, args, output: lengths.append(output.shape[1])),
        ):
            vit(seen)
        assert lengths.pop() == count

    mae = PatternMAEViT(cfg, arch=arch, img_size=16, patch_size=4)
    torch.manual_seed(0)
    tokens, mask, _ = mae(batch)
    torch.manual_seed(0)
    expected = draw_masks(build_pattern(cfg), batch).mask.flatten(1)
    assert tokens.shape == (3, 13, 16) and torch.equal(mask.bool(), expected) and mae._images is None


def test_a_schedule_reaches_a_guest(ours):
    model = torch.nn.Module()
    model.backbone = MaskAny(dict(type='guest.TinyNet'), masking=dict(pattern=DISC))
    hook = MaskScheduleHook(scale=(0.25, 0.75))
    from mmmaskany.engine.hooks.mask_schedule_hook import find_pattern

    hook._pattern = find_pattern(model, 'backbone.masking')
    hook._check(dict(inputs=images()))
    hook._pattern.share = 0.75
    assert draw_masks(hook._pattern, images()).ratio.tolist() == [9 / 16] * 3


def test_a_mixture_of_all_kinds(ours):
    patterns = [DISC, EDGE, dict(type='guest.BrightPattern', scale=0.5, cell=8, base=4)]
    mixture = build_pattern(dict(type='mmmaskany.MixturePattern', patterns=patterns, probs=[0.3, 0.3, 0.3]))
    assert mixture.names == ['disc', 'edge', 'bright'] and mixture.needs == ('images',)
    batch = images(64)
    draw = draw_masks(mixture, batch, torch.Generator().manual_seed(0))
    assert set(draw.choice.tolist()) == {0, 1, 2, 3} and draw.base == 4 and draw.source is None
    bright = build_pattern(patterns[2]).draw(64, 16, 16, images=batch).refine(4, 16, 16)
    edges = build_pattern(EDGE).draw(64, 16, 16, images=batch)
    for index, own in ((1, edges), (2, bright)):
        assert torch.equal(draw.mask[draw.choice == index], own.mask[draw.choice == index])
    assert not draw.mask[draw.choice == 3].any() and not draw.masked[draw.choice == 3].any()
    visible, reused, _ = Masking(mixture, reuse=False)(batch, draw)
    assert torch.equal(visible, ConstantFill()(batch, draw.pixel_mask(16, 16))) and reused.shape == (64, 3, 8, 8)


def test_a_fusion_in_every_backbone(ours):
    fusion = dict(type='guest.BlendFusion')
    wrapped = MaskAny(dict(type='guest.TinyNet'), fusion=fusion)
    assert wrapped.stem_parts == ('entry.conv', 'entry.norm')
    assert type(wrapped.dual_stem.fusion) is ours.fusions.BlendFusion
    assert MaskResNet(18, fusion=fusion).dual_stem.fusion.share.shape == (128, 1, 1)
    neck = MaskAnyNeck([4, 8], fusion=dict(type=ours.fusions.BlendFusion))
    assert [fusion.share.shape[0] for fusion in neck.fusions] == [4, 8]
    visible, reused = torch.rand(2, 2, 16, 5, 5)
    with torch.no_grad():  # half of the way to the reused features
        openness = wrapped.dual_stem.fusion.openness(visible, 2 * reused + visible)
    assert float(openness) == pytest.approx(float(reused.norm() / (2 * reused + visible).norm()), rel=1e-5)
    plain = MODELS.build(dict(type='guest.TinyNet'))
    wrapped.load_state_dict(plain.state_dict())
    wrapped.eval(), plain.eval()
    assert wrapped.dual_stem.fusion.is_silent()
    assert torch.equal(wrapped(images())[0], plain(images())[0])


def test_a_family_is_found(ours):
    tiny = ours.backbones.TinyNet(8)
    stem = find_stem(tiny)
    assert stem.parts == ('entry.conv', 'entry.norm') and stem.reused.conv.stride == (1, 1) and stem.channels == 8

    class Derived(ours.backbones.TinyNet):
        pass

    assert find_stem(Derived(8)).parts == stem.parts
    del tiny.entry.norm
    with pytest.raises(ValueError, match=r"stem of TinyNet, \('entry.conv', 'entry.norm'\), but has no entry.norm"):
        find_stem(tiny)


# ---------------------------------------------------------------------- bad input


def changed(config, **changes):
    cfg = Config.fromfile(config())
    cfg.merge_from_dict(changes)
    return cfg


MASKING = 'model.backbone.masking'


@pytest.mark.parametrize(
    ('key', 'value', 'error', 'message'),
    [
        (f'{MASKING}.pattern.patterns.0.scal', 0.5, TypeError, '{} must be an option of DiscPattern, which are scale'),
        (f'{MASKING}.pattern.patterns.1.scale', 1.5, ValueError, f'{MASKING}.pattern.patterns.1: scale must be in (0'),
        (f'{MASKING}.pattern.patterns.1.cell', [4, 8], ValueError, f'{MASKING}.pattern.patterns.1: EdgePattern, which'),
        (f'{MASKING}.pattern.patterns.0.type', 'guest.DicsPattern', KeyError, f'{MASKING}.pattern.patterns.0: type of'),
        (f'{MASKING}.pattern', dict(type='guest.StaticFill'), TypeError, '{}: pattern must be a Pattern or Mixture'),
        (f'{MASKING}.pattern', dict(type='ResNet', depth=18), TypeError, '{}: pattern must be a Pattern or MixturePat'),
        (f'{MASKING}.fill', dict(type='guest.BlendFusion'), TypeError, '{}: fill must be a Fill, but got BlendFusion'),
        (f'{MASKING}.fill.value', 3, TypeError, f'{MASKING}.fill: StaticFill.__init__() got an unexpected keyword'),
        ('model.backbone.fusion', dict(type='guest.StaticFill'), TypeError, '{}: fusion must be a Fusion, but got Sta'),
        ('model.backbone.fusion', dict(type='guest.Nope'), KeyError, '{}: type of fusion must be one of ['),
        ('model.backbone.fusion.chanels', 3, TypeError, '{} must be an option of BlendFusion, '),
    ],
)
def test_the_key_of_a_guest_is_named(config, key, value, error, message):
    check_config(Config.fromfile(config()))
    cfg = changed(config, **{key: value} if not isinstance(value, dict) else {key: dict(value, _delete_=True)})
    with pytest.raises(error, match=rf"^[\"']?{re.escape(message.format(key))}"):
        check_config(cfg)


def test_guests_in_a_pipeline_are_checked(ours):
    step = dict(type='mmmaskany.MaskRegions', pattern=dict(type='guest.EdgePattern', scale=0.5, cell=4, bas=2))
    cfg = Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dict(pipeline=[step]))))
    with pytest.raises(
        TypeError, match=r'^train_dataloader\.dataset\.pipeline\.0\.pattern\.bas must be an option of E'
    ):
        check_config(cfg)
    step['pattern'] = dict(type='mmmaskany.RankedPattern', ratio=0.5, cell=4)
    cfg = Config(
        dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dict(pipeline=[dict(step, reuse=False)])))
    )
    with pytest.raises(
        ValueError, match=r'^train_dataloader\.dataset\.pipeline\.0: a pattern here must do with images'
    ):
        check_config(cfg)


def test_wrong_parts_are_refused_when_built(ours):
    with pytest.raises(TypeError, match='pattern must be a Pattern or MixturePattern, but got ResNet'):
        build_pattern(dict(type='mmpretrain.ResNet'))  # before its constructor misses the depth
    with pytest.raises(TypeError, match=r'got the class DiscPattern: write dict\(type=...\)'):
        build_pattern(ours.patterns.DiscPattern)
    with pytest.raises(TypeError, match='masking must be a Masking, but got StaticFill'):
        build_masking(dict(type='guest.StaticFill'))
    with pytest.raises(TypeError, match='fill must be a Fill, but got float'):
        build_fill(0.5)
    with pytest.raises(KeyError, match='GridPattern.*: write mmmaskany.GridPattern, with the prefix'):
        init_default_scope('mmpretrain')
        build_pattern(dict(type='GridPattern', scale=0.5))
    for place in (MaskRegions, PatternMask, MaskMix, PatternMAEViT):
        with pytest.raises(ValueError, match='must do with images, but RankedPattern needs scores: mask in the model'):
            place(dict(type='mmmaskany.RankedPattern', scale=0.5))


def test_a_masking_of_a_guest(ours):
    class Twice(Masking):
        pass

    masking = build_masking(dict(type=Twice, pattern=DISC, fill=dict(type='guest.StaticFill')))
    assert type(masking) is Twice and masking.pattern.name == 'disc'
    model = MaskAny(dict(type='guest.TinyNet'), masking=dict(type=Twice, pattern=EDGE))
    assert type(model.masking) is Twice


def test_as_many_masked_tokens_must_be_promised(ours):
    with pytest.raises(ValueError, match='how many BrightPattern masks is not known.*`masked_cells` must tell'):
        PatternMAEViT({**BRIGHT, 'base': 4}, img_size=16, patch_size=4, arch='b')
    assert masked_share(build_pattern(BRIGHT), 16, 16) == 0.5  # what was asked for


def test_the_page_names_one_file_a_pattern(guest):
    # The class and its decorator: no list, no line in another file of the package but the import.
    text = (guest / 'guest/__init__.py').read_text()
    assert 'Pattern' not in text
    listed = subprocess.run(['git', 'ls-files', 'guest'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert listed == ''


def test_draws_of_guests_are_checked(ours):
    class Wrong(ours.patterns.BrightPattern):
        def draw(self, batch, height, width, generator=None, device=None, images=None):
            return images > 0

    with pytest.raises(TypeError, match='must draw a Draw, such as Draw.from_mask makes, but got Tensor'):
        draw_masks(Wrong(ratio=0.5), images())

    class Other(ours.patterns.BrightPattern):
        def draw(self, *args, images=None):
            return Draw.from_mask(torch.zeros(2, 4, 4).bool(), base=4)

    with pytest.raises(ValueError, match='made for 2 images of 4 x 4 cells of 4 px, but got images of shape'):
        draw_masks(Other(ratio=0.5), images())

    class Flat(ours.patterns.EdgePattern):
        def rank(self, *args, images=None):
            return super().rank(*args, images=images).flatten(1)

    with pytest.raises(ValueError, match=r'rank of Flat returns must be of shape \(3, 4, 4\), .* but got \(3, 16\)'):
        draw_masks(Flat(scale=0.5, cell=4), images())
