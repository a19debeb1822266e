# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import hashlib
import json

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.checkpoints.format import FORMAT
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.resume import WeightsOnlyError, read_training_state


@pytest.fixture
def publish(tool):
    main = tool('model_converters/publish_model')
    return lambda *paths: main([str(path) for path in paths])


@pytest.fixture
def published(trained, publish, tmp_path):
    publish(trained / 'epoch_2.pth', tmp_path / 'out' / 'tiny.pth')
    (path,) = (tmp_path / 'out').iterdir()
    return path


def test_weights_and_classes_are_all_that_is_kept(trained, published):
    source, checkpoint = read_checkpoint(trained / 'epoch_2.pth'), read_checkpoint(published)
    assert sorted(checkpoint) == ['meta', 'state_dict']
    assert list(checkpoint['state_dict']) == list(source['state_dict'])
    for name, tensor in source['state_dict'].items():  # the averaged ones: `ema_state_dict` has the others
        assert torch.equal(checkpoint['state_dict'][name], tensor), name
    assert any(
        not torch.equal(source['ema_state_dict'][f'module.{name}'], tensor)
        for name, tensor in checkpoint['state_dict'].items()
    )
    assert checkpoint['meta']['dataset_meta'] == source['meta']['dataset_meta'] == dict(classes=('a', 'b', 'c'))
    assert checkpoint['meta']['epoch'] == 2
    assert checkpoint['meta']['mmmaskany_format'] == source['meta']['mmmaskany_format'] == FORMAT
    assert {'cfg', 'seed', 'experiment_name', 'time'}.isdisjoint(checkpoint['meta'])
    assert published.stat().st_size < 0.6 * (trained / 'epoch_2.pth').stat().st_size
    with pytest.raises(WeightsOnlyError, match=f'{published} must hold a training state to resume from'):
        read_training_state(published)


def test_the_name_tells_the_hash(publish, published):
    assert published.name == f'tiny-{hashlib.sha256(published.read_bytes()).hexdigest()[:8]}.pth'
    publish(published, published.with_name('tiny'))  # what is published already stays as it is
    assert list(published.parent.iterdir()) == [published]


def test_it_tests_as_the_checkpoint_did(trained, published, tiny_config, tool, tmp_path):
    metrics = []
    for checkpoint in (trained / 'epoch_2.pth', published):
        out = ('--work-dir', str(tmp_path / 'test'), '--out', str(tmp_path / 'out.json'), '--out-item', 'metrics')
        tool('test')([tiny_config(), str(checkpoint), *out])
        metrics.append(json.loads((tmp_path / 'out.json').read_text()))
    assert metrics[0] == metrics[1]


def test_it_starts_a_training(published):
    init_default_scope('mmpretrain')
    backbone = MODELS.build(
        dict(
            type='mmmaskany.MaskAny',
            backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
            init_cfg=dict(type='Pretrained', checkpoint=str(published), prefix='backbone.'),
        )
    )
    backbone.init_weights()
    weights = read_checkpoint(published)['state_dict']
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, weights[f'backbone.{name}']), name


def test_bare_state_dicts_are_published_too(publish, tmp_path):
    weights = torch.nn.Linear(2, 2).state_dict()
    torch.save(weights, tmp_path / 'bare.pth')
    publish(tmp_path / 'bare.pth', tmp_path / 'out' / 'bare')
    (path,) = (tmp_path / 'out').iterdir()
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint['state_dict']['weight'], weights['weight'])
    assert checkpoint['meta']['mmmaskany_format'] == 1  # that of what bears none, whatever today's is


def test_what_is_no_checkpoint_is_refused(trained, publish, published, tmp_path):
    target = tmp_path / 'refused'
    with pytest.raises(FileNotFoundError, match=r'must be an existing file, but got .*none.pth'):
        publish(tmp_path / 'none.pth', target)
    broken = tmp_path / 'broken.pth'
    broken.write_bytes((trained / 'epoch_2.pth').read_bytes()[:-100])
    with pytest.raises(ValueError, match=f'{broken} must be a complete PyTorch file'):
        publish(broken, target)
    for content in (dict(epoch=1), dict(state_dict=dict()), dict(state_dict=torch.ones(1))):
        torch.save(content, broken)
        with pytest.raises(ValueError, match=f'{broken} must hold tensors by their names, but holds'):
            publish(broken, target)
    published.write_bytes(b'something else')
    with pytest.raises(FileExistsError, match=f'{published} must not exist yet'):
        publish(trained / 'epoch_2.pth', published.with_name('tiny.pth'))
    assert published.read_bytes() == b'something else'
    assert not list(tmp_path.glob('refused*'))


def test_a_container_can_be_named(publish, tmp_path):
    torch.save(dict(model=dict(w=torch.zeros(2)), model_ema=dict(w=torch.ones(2))), tmp_path / 'a.pth')
    for container, value in ((None, 1), ('model', 0)):
        publish(tmp_path / 'a.pth', tmp_path / f'{container}' / 'a', *(('--container', container) if container else ()))
        (path,) = (tmp_path / f'{container}').iterdir()
        assert read_checkpoint(path)['state_dict']['w'].tolist() == [value] * 2
    with pytest.raises(ValueError, match="container must be one of 'model', 'model_ema'"):
        publish(tmp_path / 'a.pth', tmp_path / 'b', '--container', 'teacher')
