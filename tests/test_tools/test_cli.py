# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The command mmmaskany: its table, its help, and each of its parts on trained networks."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from shipped import ROOT

import mmmaskany
from mmmaskany import cli, user_errors
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.inference.prediction import list_images
from mmmaskany.inference.samples import image_size
from mmmaskany.inference.trained import find_run, load_trained


def run(*argv):
    """Return the exit code of a command line."""
    try:
        return user_errors.run(cli.main, [str(argument) for argument in argv])
    except SystemExit as stop:
        return stop.code


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_fits_a_screen_and_has_an_example(name, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    assert run(name, '--help') == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 50 and max(map(len, text.splitlines())) <= 120
    assert f'\n    mmmaskany {name}' in text


def test_help_imports_no_torch():
    code = (
        'import sys\nfrom mmmaskany import cli\n'
        "for argv in (['--help'], *([name, '--help'] for name in ('finetune', 'list', 'show', 'doctor'))):\n"
        '    try:\n        cli.main(argv)\n    except SystemExit:\n        pass\n'
        "assert not {'torch', 'mmcv', 'matplotlib', 'scipy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True)


def test_commands_are_functions_of_the_same_names():
    for name in cli.COMMANDS:
        assert callable(getattr(mmmaskany, name))
    with pytest.raises(AttributeError, match='no attribute'):
        _ = mmmaskany.nothing


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['predcit'], 'did you mean predict'),
        (['export', 'x', '--plain', '--format', 'tflite'], 'invalid choice'),
        (['export', 'nowhere', '--plain'], 'nowhere does not exist'),
        (['predict', 'nowhere', 'a.png'], 'nowhere does not exist'),
        (['show', 'resnot'], "'resnot'"),
        (['show', 'resnet-18-maskany'], 'spelled alike are maskany_resnet18_'),
        (['show', 'nothing.py'], 'nothing.py does not exist'),
        (['list', 'resnet', 'nothing-like-it'], 'no model has resnet and nothing-like-it'),
    ],
)
def test_errors_of_the_user_are_exit_code_2(argv, message, capsys):
    assert run(*argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ''


def test_a_config_that_cannot_be_read_is_one_sentence(tmp_path, capsys):
    (tmp_path / 'mine.py').write_text('import not_there\n')
    assert run('show', tmp_path / 'mine.py') == 2
    assert 'mine.py must import what is there, but' in capsys.readouterr().err


def test_the_process(tmp_path):
    """Elsewhere than in the repository, piped, cut off by its reader."""
    call = f'{sys.executable} -m mmmaskany'
    done = subprocess.run(
        f'{call} list digits | head -n 1; {call} show x; echo $?',
        shell=True,
        cwd=tmp_path,
        env={'PYTHONPATH': str(Path(mmmaskany.__file__).parents[1]), 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert 'digits' in lines[0] and '\x1b' not in done.stdout
    assert lines[1:] == ['2']
    errors = [line for line in done.stderr.splitlines() if line != 'Could not import OneDL']  # as the forks say
    assert errors[0].startswith('mmmaskany: error: name must be') and 'Traceback' not in done.stderr


# ---------------------------------------------------------------------- list and show


def test_list(capsys):
    assert run('list', 'RESNET18', 'maskany_*digits') == 0
    names = capsys.readouterr().out.split()
    assert 'maskany_resnet18-narrow_1xb32-coslr-8e_digits' in names
    assert all('resnet18' in name and name.endswith('digits') for name in names)
    assert {model['Results'][0]['Task'] for model in mmmaskany.list(task='detection')} == {'Object Detection'}
    with pytest.raises(ValueError, match='task must be one of'):
        mmmaskany.list(task='depth')


def test_show(capsys):
    assert run('show', 'maskany_resnet18-narrow_1xb32-coslr-8e_digits', '--shape', 32, 32) == 0
    text = capsys.readouterr().out
    assert '700,944' in text and 'model.backbone.masking: 10% of the images by grid, 25% of each' in text
    assert 'Top 1 Accuracy 98.31' in text
    card = mmmaskany.show('resnet18-narrow_1xb32-coslr-8e_digits')
    assert card.masks == [] and 'reused stem' not in card.costs
    assert card.size == (32, 32)  # of its images


def test_show_of_a_training_is_what_it_reached(trained, tmp_path):
    records = [json.loads(line) for path in trained.glob('*/vis_data/scalars.json') for line in path.open()]
    reached = records[-1]['accuracy/top1']
    (measured,) = (line for line in mmmaskany.show(trained).measured if line.startswith('accuracy/top1'))
    assert measured == f'accuracy/top1 {reached:.4g} (the last validation of this training, at 2)'

    name = 'maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
    assert mmmaskany.show(ROOT / 'configs/maskany' / name).measured
    (tmp_path / name).write_text(Config.fromfile(ROOT / 'configs/maskany' / name).pretty_text)
    assert mmmaskany.show(tmp_path / name).measured == []  # of the shipped one's name, but changed, maybe


@pytest.mark.parametrize(
    ('config', 'size'),
    [
        ('maskany_r50_in1k', (224, 224)),
        ('maskany_r50_mask-rcnn_coco', (800, 1344)),
        ('maskany_r50_upernet_ade20k', (512, 512)),
        ('maskany/maskany_resnet18_1xb128-coslr-200e_cifar10', (32, 32)),
    ],
)
def test_size_of_the_test_data(config, size):
    assert image_size(Config.fromfile(ROOT / 'configs' / f'{config}.py')) == size


# ---------------------------------------------------------------------- predict


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """Folders with what people have: two of one name, one that is no image, several formats."""
    root = tmp_path_factory.mktemp('my photos é')
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    for folder in ('a', 'b/ü', '.hidden'):
        (root / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(root / folder / 'one.png')
    cv2.imwrite(str(root / 'a' / 'deep.png'), pixels[..., ::-1].astype(np.uint16) * 257)
    Image.fromarray(pixels).save(root / 'a' / 'one.webp', lossless=True)
    Image.fromarray(pixels).convert('P').save(root / 'a' / 'two.gif')
    Image.fromarray(pixels).convert('L').save(root / 'a' / 'grey.tif')
    (root / 'a' / 'broken.jpg').write_bytes(b'no image')
    (root / 'a' / 'empty.jpg').touch()
    (root / 'a' / 'notes.txt').write_text('no image')
    return root


def test_images_are_listed(photos, tmp_path, monkeypatch):
    everything = list_images(photos)
    names = [str(path.relative_to(photos)) for path in everything]
    assert names == sorted(names) and len(names) == 8 and 'b/ü/one.png' in names
    assert list_images([photos, photos / 'a' / 'one.png']) == everything  # each once
    assert list_images(str(photos / 'a' / '*.webp')) == [photos / 'a' / 'one.webp']
    assert list_images(str(photos / '**' / 'one.png')) == [photos / 'a/one.png', photos / 'b/ü/one.png']
    assert list_images(photos / 'a' / 'notes.txt') == [photos / 'a' / 'notes.txt']  # named, so tried
    monkeypatch.chdir(photos)
    assert list_images('a') == [Path('a', path.name) for path in everything if path.parent.name == 'a']
    with pytest.raises(FileNotFoundError, match=r'nothing-\*.png is none'):
        list_images(str(photos / 'nothing-*.png'))
    (tmp_path / 'none').mkdir()
    with pytest.raises(ValueError, match=r'must hold an image .* found none'):
        list_images(tmp_path / 'none')


def test_predict_of_a_classifier(trained, photos, tmp_path, capsys):
    out = tmp_path / 'out.csv'
    assert run('predict', trained, photos, '--csv', out, '--json', tmp_path / 'out.json', '--draw', tmp_path / 'd') == 0
    captured = capsys.readouterr()
    assert '2 of 8 images could not be read' in captured.err and 'epoch_2.pth' in captured.err
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert [row['image'].rpartition('/')[2] for row in rows if 'error' in row] == ['broken.jpg', 'empty.jpg']
    lines = [
        row['image'] + '\t' + (f'{row["class"]} {row["score"]:.2f}' if 'class' in row else 'could not be read')
        for row in rows
    ]
    assert captured.out.splitlines() == lines  # no terminal: whole and without padding
    found = {row['image'].removeprefix(f'{photos}/'): row for row in rows}
    same = ('label', 'class', 'score')
    for name in ('a/deep.png', 'a/one.webp', 'b/ü/one.png'):  # one image in other forms
        assert [found[name][key] for key in same] == [found['a/one.png'][key] for key in same]
    with out.open(newline='') as file:
        table = list(csv.DictReader(file))
    assert [row['image'] for row in table] == [row['image'] for row in rows]
    assert table[-1]['class'] == rows[-1]['class'] and float(table[-1]['score']) == rows[-1]['score']
    drawn = sorted(str(path.relative_to(tmp_path / 'd')) for path in (tmp_path / 'd').rglob('*.png'))
    assert drawn == sorted(['a/deep.png', 'a/grey.png', 'a/one.png.png', 'a/one.webp.png', 'a/two.png', 'b/ü/one.png'])

    # As the network itself predicts.
    network = load_trained(find_run(trained), 'cpu')
    image = torch.from_numpy(cv2.imread(str(photos / 'a' / 'one.png'))).permute(2, 0, 1)[None]
    with torch.no_grad():
        (sample,) = network.model.test_step(dict(inputs=image))
    assert sample.pred_score.max().item() == pytest.approx(found['a/one.png']['score'], abs=1e-6)
    assert network.classes[sample.pred_label.item()] == found['a/one.png']['class']

    assert run('predict', trained, photos / 'a' / 'broken.jpg') == 2  # nothing could be read
    assert run('predict', trained, photos, '--maps', tmp_path / 'maps') == 2
    assert '--maps needs a segmentor' in capsys.readouterr().err
    assert run('predict', trained, photos, '--json', '-', '--csv', '-') == 2
    assert run('predict', trained, photos, '--csv', tmp_path / 'none' / 'out.csv') == 2
    assert run('predict', trained, photos, '--score', 2) == 2
    capsys.readouterr()
    assert run('predict', trained, photos, '--score', 0.5) == 2
    assert '--score needs a detector' in capsys.readouterr().err
    assert run('export', trained, '--plain', '--shape', 24, 20) == 2
    assert '--shape is that of the images of an ONNX file' in capsys.readouterr().err


def write_run(folder, cfg):
    """Write what a training leaves: its config, and a checkpoint of the network as it is built."""
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(folder / 'config.py')
    meta = dict(dataset_meta=dict(classes=('blue', 'green', 'red'), palette=[[0, 0, 255], [0, 255, 0], [255, 0, 0]]))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), folder / 'epoch_1.pth')
    return folder


@pytest.mark.parametrize('views', [True, False])
def test_predict_with_a_pipeline_that_loads_nothing(views, photos, tmp_path):
    """Of CIFAR-100, which is in memory as RGB; in the reference's recipe each view is resized by itself."""
    name = 'maskany_maskresnet34-pipeline' if views else 'resnet34'
    cfg = Config.fromfile(ROOT / f'configs/maskany/{name}_1xb128-coslr-300e_cifar100-224px.py')
    cfg.model.backbone.update(depth=18, base_channels=8, stem_channels=16)
    cfg.model.head.in_channels = 64
    folder = write_run(tmp_path / 'run', cfg)
    assert run('predict', folder, photos / 'a', '--json', tmp_path / 'out.json') == 0
    found = {Path(row['image']).name: row for row in json.loads((tmp_path / 'out.json').read_text())}
    network = load_trained(find_run(folder), 'cpu')
    assert 'error' not in found['one.png'] and not network.model.data_preprocessor.to_rgb
    image = dict(img=cv2.cvtColor(cv2.imread(str(photos / 'a' / 'one.png')), cv2.COLOR_BGR2RGB), gt_label=0)
    data = default_collate([Compose(cfg.test_dataloader.dataset.pipeline)(image)])
    with torch.no_grad():
        (sample,) = network.model.test_step(data)
    assert sample.pred_score.max().item() == pytest.approx(found['one.png']['score'], abs=1e-6)


def test_predict_of_a_detector(write_library_config, squares, tmp_path):
    pytest.importorskip('mmdet')
    folder = write_run(tmp_path / 'run', Config.fromfile(write_library_config(tmp_path, 'mmdet')))
    rows = mmmaskany.predict(folder, squares / 'val', score=0.0, draw=tmp_path / 'drawn')
    assert len(rows) == 2 and all(row['objects'] for row in rows)
    best = rows[0]['objects'][0]
    assert best['class'] == ('blue', 'green', 'red')[best['label']] and len(best['box']) == 4
    height, width = cv2.imread(rows[0]['image']).shape[:2]
    assert 0 <= best['box'][0] <= best['box'][2] <= width and 0 <= best['box'][1] <= best['box'][3] <= height
    assert cv2.imread(rows[0]['drawn']).shape == (height, width, 3)
    # Without detections each image keeps its row.
    out = tmp_path / 'out.csv'
    assert run('predict', folder, squares / 'val', '--score', 1, '--csv', out) == 0
    with out.open(newline='') as file:
        table = list(csv.DictReader(file))
    assert [row['class'] for row in table] == ['', ''] and 'x1' in table[0]
    assert run('export', folder, '--format', 'onnx') == 2


def test_predict_of_a_segmentor_and_its_onnx(write_library_config, squares, tmp_path, capsys):
    pytest.importorskip('mmseg')
    folder = write_run(tmp_path / 'run', Config.fromfile(write_library_config(tmp_path, 'mmseg')))
    (row,) = mmmaskany.predict(folder, squares / 'val/0.png', maps=tmp_path / 'maps', draw=tmp_path / 'drawn')
    labels, image = cv2.imread(row['map'], cv2.IMREAD_UNCHANGED), cv2.imread(row['image'])
    assert labels.shape == image.shape[:2] == cv2.imread(row['drawn']).shape[:2]
    shares = {name: (labels == label).mean() for label, name in enumerate(('blue', 'green', 'red'))}
    assert row['classes'] == pytest.approx({name: share for name, share in shares.items() if share}, abs=1e-5)

    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    height, width = image.shape[:2]
    assert run('export', folder, '--format', 'onnx', '--shape', height, width) == 0
    session = ort.InferenceSession(str(folder / 'model.onnx'))
    inputs = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    (found,) = session.run(None, dict(images=inputs))
    assert (found[0] == labels).mean() > 0.99  # all but pixels between two classes


# ---------------------------------------------------------------------- runs


def test_which_run_is_taken(tmp_path):
    for name in ('plain/seed0', 'maskany/seed10', 'maskany/seed2', 'unmasked/seed0'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'net.py').touch()
        torch.save(dict(state_dict={}, meta={}, message_hub={}), tmp_path / name / 'epoch_1.pth')
    found = find_run(tmp_path)
    assert found.folder == tmp_path / 'maskany/seed2' and found.config == tmp_path / 'maskany/seed2/net.py'
    assert 'holds 4 runs: maskany/seed2 is taken' in found.notes[0] and 'plain/seed0' in found.notes[0]
    assert find_run(tmp_path / 'plain').folder == tmp_path / 'plain/seed0' and not find_run(tmp_path / 'plain').notes
    assert find_run(tmp_path / 'plain/seed0/epoch_1.pth').checkpoint == tmp_path / 'plain/seed0/epoch_1.pth'

    # The last checkpoint is cut off, as by a full disk: the one before is taken, and it is said.
    killed = tmp_path / 'plain/seed0'
    (killed / 'epoch_2.pth').write_bytes(b'PK')
    (killed / 'last_checkpoint').write_text(str(killed / 'epoch_2.pth'))
    found = find_run(killed)
    assert found.checkpoint == killed / 'epoch_1.pth' and 'epoch_2.pth' in found.notes[0]
    (killed / 'epoch_1.pth').unlink()
    with pytest.raises(ValueError, match='epoch_2.pth'):
        find_run(killed)
    (killed / 'epoch_2.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'not come to its first one yet.*--resume'):
        find_run(killed)
    with pytest.raises(FileNotFoundError, match='no config either'):
        find_run(Path(tmp_path, 'none').mkdir() or tmp_path / 'none')


# ---------------------------------------------------------------------- export


def test_export_of_a_classifier_as_onnx(trained, photos, tmp_path, capsys):
    ort = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    out = tmp_path / 'tiny.onnx'
    assert run('export', trained, '--format', 'onnx', '--out', out, '--shape', 24, 20) == 0
    assert capsys.readouterr().out == f'{out}\n'
    session = ort.InferenceSession(str(out))
    about = session.get_modelmeta().custom_metadata_map
    classes = json.loads(about['classes'])
    assert 'RGB, 0 .. 255' in about['images'] and len(classes) == 3
    image = np.asarray(Image.open(photos / 'a' / 'one.png')).transpose(2, 0, 1)[None].astype(np.float32)
    for count in (1, 3):
        (scores,) = session.run(None, dict(images=image.repeat(count, 0)))
        assert scores.shape == (count, 3)
    (row,) = mmmaskany.predict(trained, photos / 'a' / 'one.png')
    assert classes[scores[0].argmax()] == row['class'] and scores[0].max() == pytest.approx(row['score'], abs=1e-5)


def test_onnx_without_its_packages(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert run('export', trained, '--format', 'onnx', '--out', tmp_path / 'tiny.onnx') == 2
    assert 'needs the package onnx: pip install' in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, 'onnx')
    pytest.importorskip('onnx')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert run('export', trained, '--format', 'onnx', '--out', tmp_path / 'tiny.onnx') == 0
    assert 'was not checked against PyTorch' in capsys.readouterr().err


def vit(folder, tiny_config, backbone, crop=62, **head):
    """Write a run of a network that cuts patches, with a second stem that contributes."""
    masking = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))
    backbone = dict(_delete_=True, type='mmmaskany.MaskAny', backbone=backbone, masking=masking)
    head = dict(_delete_=True, num_classes=3, **head)
    preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=3)
    cfg = Config.fromfile(tiny_config(model=dict(backbone=backbone, head=head)))
    cfg.model.neck = dict(type='GlobalAveragePooling') if head['type'] == 'LinearClsHead' else None
    cfg.model.data_preprocessor = preprocessor
    cfg.train_dataloader.dataset.pipeline[1].crop_size = crop  # 62: patches of 4 or 8 px do not divide it
    write_run(folder, cfg)
    checkpoint = read_checkpoint(folder / 'epoch_1.pth')
    for name, tensor in checkpoint['state_dict'].items():
        if ('.reused.' in name or '.fusion.' in name) and tensor.is_floating_point():
            tensor.add_(0.3 * torch.randn_like(tensor))
    torch.save(checkpoint, folder / 'epoch_1.pth')
    return folder


def test_export_plain(tiny_config, tmp_path, tool, capsys):
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    host = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=32, patch_size=8)
    folder = vit(tmp_path / 'run', tiny_config, host, type='VisionTransformerClsHead', in_channels=16)
    assert run('export', folder, '--plain', '--out', tmp_path / 'plain.pth') == 0
    assert capsys.readouterr().out == f'{tmp_path / "plain.pth"}\n{tmp_path / "plain.py"}\n'
    both, plain = (load_trained(find_run(path), 'cpu') for path in (folder, tmp_path / 'plain.pth'))
    assert type(plain.model.backbone).__name__ == 'VisionTransformer' and plain.classes == both.classes
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(plain.model(images), both.model(images), rtol=0, atol=1e-5)

    # Beside the training it is no obstacle to it.
    assert run('export', folder, '--plain') == 0
    assert find_run(folder / 'plain.pth').config == folder / 'plain.py'
    assert find_run(folder / 'epoch_1.pth').config == folder / 'config.py'
    for path in (folder / 'plain.pth', folder / 'plain.py'):
        path.unlink()

    # The tool does the same.
    merge = tool('model_converters/merge')
    argv = [str(folder / 'epoch_1.pth'), str(tmp_path / 'tool.pth'), '--config', str(folder / 'config.py')]
    merge(argv)
    a, b = (read_checkpoint(tmp_path / name)['state_dict'] for name in ('plain.pth', 'tool.pth'))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    with pytest.raises(FileExistsError, match='must not exist yet'):
        merge(argv)

    assert run('export', folder, '--plain', '--names', 'timm', '--out', tmp_path / 'timm.pth') == 2
    assert 'needs mmpretrain.TIMMBackbone, but the backbone is VisionTransformer' in capsys.readouterr().err
    assert run('export', folder) == 2
    assert not (tmp_path / 'timm.pth').exists() and not (folder / 'plain.pth').exists()


def test_export_plain_of_what_is_not_linear(trained, tmp_path, capsys):
    assert run('export', trained, '--plain', '--out', tmp_path / 'plain.pth') == 2
    assert 'cannot be merged: a stem must be one convolution' in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('name', ['resnet18', 'convnext_atto', 'swin_tiny_patch4_window7_224'])
def test_export_to_timm(name, tiny_config, tmp_path, capsys):
    timm = pytest.importorskip('timm')
    small = {
        'resnet18': dict(layers=[1] * 4, channels=[8, 8, 16, 16]),
        'convnext_atto': dict(depths=[1] * 4, dims=[8, 8, 16, 16]),
        'swin_tiny_patch4_window7_224': dict(img_size=64, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4),
    }[name]
    host = dict(type='mmpretrain.TIMMBackbone', model_name=name, **small)
    crop = 64 if 'swin' in name else 62  # timm's Swin takes one size
    folder = vit(tmp_path / 'run', tiny_config, host, crop, type='LinearClsHead', in_channels=16)
    code = run('export', folder, '--plain', '--names', 'timm', '--out', tmp_path / 'timm.pth')
    said = capsys.readouterr().err
    if name == 'resnet18':
        assert code == 2 and 'cannot be merged' in said
        return
    assert code == 0 and ('the classifier is left out' in said) == (name == 'convnext_atto' or 'swin' in name)
    model = timm.create_model(name, num_classes=0, global_pool='', **small)
    model.load_state_dict(read_checkpoint(tmp_path / 'timm.pth')['state_dict'])
    both = load_trained(find_run(folder), 'cpu').model.backbone
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), both(images)[-1], rtol=0, atol=1e-5)


def test_what_finetune_started_from_is_no_run(tmp_path):
    """``finetune --weights`` leaves the weights beside the runs; they have no config."""
    from mmmaskany.inference.trained import find_run

    torch.save(dict(state_dict={}, meta={}), tmp_path / 'weights.pth')
    for variant in ('plain', 'maskany'):
        folder = tmp_path / variant / 'seed0'
        folder.mkdir(parents=True)
        torch.save(
            dict(state_dict={}, meta=dict(epoch=1, iter=1), message_hub={}, optimizer={}), folder / 'epoch_1.pth'
        )
        (folder / f'{variant}.py').write_text('model = dict()')
    found = find_run(tmp_path)
    assert found.folder == tmp_path / 'maskany' / 'seed0' and found.config.name == 'maskany.py'
    assert 'holds 2 runs' in found.notes[0]
