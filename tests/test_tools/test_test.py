# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import pickle
import shutil

import pytest
import torch
from torch import nn

from mmmaskany.checkpoints.protection import read_checkpoint


@pytest.fixture
def test_tool(tiny_config, tool, tmp_path):
    """Test a checkpoint with a changed tiny config: ``test_tool(checkpoint, '--tta', **changes)``."""

    def run(checkpoint, *args, **changes):
        tool('test')([tiny_config(**changes), str(checkpoint), '--work-dir', str(tmp_path / 'test'), *map(str, args)])

    return run


def test_metrics_and_predictions(trained, test_tool, tmp_path):
    test_tool(trained / 'epoch_2.pth', '--out', tmp_path / 'metrics.json', '--out-item', 'metrics')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    test_tool(trained / 'epoch_2.pth', '--out', tmp_path / 'all.pkl')
    predictions = pickle.loads((tmp_path / 'all.pkl').read_bytes())
    right = [bool(sample['pred_label'] == sample['gt_label']) for sample in predictions]
    assert len(right) == 12
    assert metrics['accuracy/top1'] == pytest.approx(100 * sum(right) / 12)
    with pytest.raises(ValueError, match=r'--out must be a .pkl file, but got out.txt'):
        test_tool(trained / 'epoch_2.pth', '--out', 'out.txt')


def test_tta(trained, test_tool, tmp_path):
    with pytest.raises(ValueError, match='--tta needs .* but tta_model and tta_pipeline is missing'):
        test_tool(trained / 'epoch_2.pth', '--tta')
    load, pack = dict(type='LoadImageFromFile'), dict(type='PackInputs')
    plain, flipped = dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)
    changes = dict(
        tta_model=dict(type='AverageClsScoreTTA'),
        tta_pipeline=[load, dict(type='TestTimeAug', transforms=[[plain, flipped], [pack]])],
    )

    def scores(*args, pipeline=(load, pack)):
        data = dict(dataset=dict(pipeline=list(pipeline)))
        test_tool(trained / 'epoch_2.pth', *args, '--out', tmp_path / 'out.pkl', test_dataloader=data, **changes)
        samples = pickle.loads((tmp_path / 'out.pkl').read_bytes())
        return torch.stack([sample['pred_score'] for sample in samples])

    views = scores(), scores(pipeline=(load, flipped, pack))
    assert not torch.allclose(*views)
    torch.testing.assert_close(scores('--tta'), (views[0] + views[1]) / 2)
    half = scores('--tta', '--amp')
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), (views[0] + views[1]) / 2, atol=0.02, rtol=0)


def test_pictures(trained, test_tool, tmp_path):
    with pytest.raises(ValueError, match='need default_hooks.visualization'):
        test_tool(trained / 'epoch_2.pth', '--show-dir', tmp_path / 'pictures')
    test_tool(
        trained / 'epoch_2.pth',
        *('--show-dir', tmp_path / 'pictures', '--interval', 4),
        default_hooks=dict(visualization=dict(type='VisualizationHook', enable=False)),
        visualizer=dict(type='UniversalVisualizer'),
    )
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 3


def test_checkpoint_that_does_not_fit(trained, test_tool, tmp_path):
    path = tmp_path / 'broken.pth'
    path.write_bytes((trained / 'epoch_2.pth').read_bytes()[:-100])
    with pytest.raises(ValueError, match=f'{path} must be a complete PyTorch file'):
        test_tool(path)
    path = tmp_path / 'foreign.pth'
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match=f'{path} must hold the tensors of this ImageClassifier, but'):
        test_tool(path)
    whole = torch.load(trained / 'epoch_2.pth')
    del whole['state_dict']['head.fc.bias']
    torch.save(whole, path)
    with pytest.raises(ValueError, match=f'{path} must hold .* but 1 of .* are missing: head.fc.bias'):
        test_tool(path)
    with pytest.raises(FileNotFoundError, match=r'must be an existing file, but got .*none.pth'):
        test_tool(tmp_path / 'none.pth')


def test_data_that_does_not_fit(trained, test_tool, image_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match='must exist'):
        test_tool(trained / 'epoch_2.pth', test_dataloader=dict(dataset=dict(data_root=str(tmp_path / 'none'))))
    shutil.copytree(image_folder / 'val', tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data' / 'c')
    changed = dict(dataset=dict(data_root=str(tmp_path / 'data'), data_prefix=''))
    with pytest.raises(
        ValueError, match=r'head.num_classes must be 2, the number of classes in the test data, but got 3'
    ):
        test_tool(trained / 'epoch_2.pth', test_dataloader=changed)
    (tmp_path / 'data' / 'c').mkdir()
    broken = tmp_path / 'data' / 'c' / '0.png'
    broken.write_bytes(b'')
    with pytest.raises(ValueError, match=f'{broken} gave'):
        test_tool(trained / 'epoch_2.pth', test_dataloader=changed)


# ---------------------------------------------------------------------- results


def test_pictures_of_equal_names_are_all_kept(trained, test_tool, image_folder, tmp_path):
    for index, path in enumerate(sorted((image_folder / 'val').rglob('*.png'))):
        target = tmp_path / 'data' / path.parent.name / f'{index % 4}.png'
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    test_tool(
        trained / 'epoch_2.pth',
        *('--show-dir', tmp_path / 'pictures'),
        test_dataloader=dict(dataset=dict(data_root=str(tmp_path / 'data'), data_prefix='')),
        default_hooks=dict(visualization=dict(type='VisualizationHook', enable=False)),
        visualizer=dict(type='UniversalVisualizer'),
    )
    found = sorted(
        path.relative_to(tmp_path / 'pictures').as_posix() for path in (tmp_path / 'pictures').rglob('*.png')
    )
    assert found == [f'{name}/{index}.png_0.png' for name in 'abc' for index in range(4)]


@pytest.mark.parametrize('evaluator', [None, dict(type='Accuracy', topk=(1,))], ids=['None', 'metrics'])
def test_images_without_labels(evaluator, trained, test_tool, image_folder, tmp_path, capfd):
    (tmp_path / 'new').mkdir()
    paths = sorted((image_folder / 'val').rglob('*.png'))
    for path in paths:
        shutil.copy(path, tmp_path / 'new')

    def scores(*args, **data):
        data = dict(dataset=dict(data_prefix='', **data))
        out = tmp_path / f'{len(args)}.pkl'
        test_tool(trained / 'epoch_2.pth', '--out', out, test_dataloader=data, test_evaluator=evaluator)
        samples = pickle.loads(out.read_bytes())
        return {sample['img_path'].split('/')[-1]: sample['pred_score'] for sample in samples}

    unlabelled = scores(data_root=str(tmp_path / 'new'), with_label=False)
    labelled = scores('labelled', data_root=str(image_folder / 'val'))
    assert set(unlabelled) == set(labelled) == {path.name for path in paths}
    torch.testing.assert_close(unlabelled, labelled)  # other neighbours in the batch round otherwise on some processors
    test_tool(trained / 'epoch_2.pth', test_evaluator=None)
    assert 'There are no metrics: --out or --show-dir keeps the predictions' in ''.join(capfd.readouterr())


def test_images_are_made_as_in_the_training_of_a_file(trained, test_tool, tmp_path):
    """A file says in its own config what images it was trained on; others would silently give other results."""
    known = read_checkpoint(trained / 'epoch_2.pth')
    text = 'data_preprocessor = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)\n'
    own = dict(known['meta'], cfg=text)
    torch.save(dict(known, meta=own), tmp_path / 'old.pth')
    message = (
        r'data_preprocessor must make the images that .*old\.pth was trained on, but makes .*mean .* instead of '
        r'\[1\.0, 2\.0, 3\.0\].*has mean=\[1\.0, 2\.0, 3\.0\], std=\[4\.0, 5\.0, 6\.0\] and RGB channels: set these'
    )
    with pytest.raises(ValueError, match=message):
        test_tool(tmp_path / 'old.pth')
    test_tool(tmp_path / 'old.pth', model=dict(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6])))
    # The model's own preprocessor counts before the one beside it.
    inner = f'model = dict(data_preprocessor={text.partition(" = ")[2].strip()})\n'
    own['cfg'] = 'data_preprocessor = dict(mean=[9, 9, 9], std=[1, 1, 1])\n' + inner
    torch.save(dict(known, meta=own), tmp_path / 'inner.pth')
    test_tool(tmp_path / 'inner.pth', model=dict(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6])))
