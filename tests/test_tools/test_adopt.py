# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner.checkpoint import load_checkpoint

from mmmaskany.checkpoints.format import FORMAT
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.models.backbones import MaskAnyMixin


@pytest.fixture
def adopt(tool):
    main = tool('model_converters/adopt')
    return lambda source, target, config: main([str(source), str(target), '--config', str(config)])


def plain_of(config):
    """The model of a config around its plain backbone."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, backbone=copy.deepcopy(cfg.model.backbone.backbone)))
    model.init_weights()
    model.eval()
    return model


def save(model, path):
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c')), epoch=3, cfg='model = dict(...)')
    torch.save(dict(meta=meta, state_dict=model.state_dict(), optimizer=dict(state={})), path)
    return path


@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet', 'mmseg'])
def test_the_file_loads_without_adoption_and_keeps_the_function(
    library, adopt, tiny_config, write_library_config, tmp_path, monkeypatch
):
    config = tiny_config() if library == 'mmpretrain' else write_library_config(tmp_path, library)
    plain = plain_of(config)
    source, target = save(plain, tmp_path / 'plain.pth'), tmp_path / 'out' / 'adopted.pth'
    adopt(source, target, config)

    written, before = read_checkpoint(target), read_checkpoint(source)
    assert sorted(written) == ['meta', 'state_dict']
    assert written['meta'] == dict(dataset_meta=dict(classes=('a', 'b', 'c')), epoch=3, mmmaskany_format=FORMAT)
    for name, tensor in before['state_dict'].items():
        assert torch.equal(written['state_dict'][name], tensor), name

    def refuse(*_):
        raise AssertionError('adopted again')

    monkeypatch.setattr(MaskAnyMixin, '_adopt', refuse)
    model = MODELS.build(Config.fromfile(config).model)
    load_checkpoint(model, str(target), strict=True)
    model.eval()
    image = torch.randn(1, 3, 64, 64)
    for level, expected in zip(model.extract_feat(image), plain.extract_feat(image), strict=True):
        assert torch.equal(level, expected)


def test_stems_that_are_one_module_and_bare_backbones(adopt, tiny_config, tmp_path):
    host = dict(type='mmpretrain.MobileNetV2', widen_factor=0.25)
    config = tiny_config(model=dict(backbone=dict(backbone=dict(_delete_=True, **host))))
    plain = MODELS.build(host)
    plain.eval()
    torch.save({**plain.state_dict(), 'fc.weight': torch.ones(3, 8)}, tmp_path / 'bare.pth')
    adopt(tmp_path / 'bare.pth', tmp_path / 'adopted.pth', config)
    tensors = read_checkpoint(tmp_path / 'adopted.pth')['state_dict']
    assert torch.equal(tensors['conv1.visible.conv.weight'], plain.conv1.conv.weight)
    assert torch.equal(tensors['conv1.reused.conv.weight'], plain.conv1.conv.weight)
    assert not tensors['conv1.fusion.scale'].any() and tensors['fc.weight'].eq(1).all()
    assert 'conv1.conv.weight' not in tensors


def test_what_cannot_be_adopted_is_refused(adopt, tiny_config, tmp_path):
    config = tiny_config()
    plain = plain_of(config)
    source, target = save(plain, tmp_path / 'plain.pth'), tmp_path / 'adopted.pth'
    with pytest.raises(FileNotFoundError, match='must be an existing file, but got .*none.pth'):
        adopt(tmp_path / 'none.pth', target, config)
    with pytest.raises(ValueError, match=r'plain.pth: the backbone of .*late.py must have a second stem'):
        adopt(source, target, tiny_config('late', model=dict(backbone=dict(fuse_at='levels'))))
    deeper = tiny_config('deeper', model=dict(backbone=dict(backbone=dict(depth=34))))
    with pytest.raises(ValueError, match=r'plain.pth: the checkpoint does not fit the backbone .* are missing'):
        adopt(source, target, deeper)
    assert not target.exists()
    adopt(source, target, config)
    content = target.read_bytes()
    with pytest.raises(FileExistsError, match=f'{target} must not exist yet'):
        adopt(source, target, config)
    with pytest.raises(ValueError, match=r'adopted.pth: the checkpoint must be a plain one, but has a second stem'):
        adopt(target, tmp_path / 'again.pth', config)
    assert target.read_bytes() == content and not (tmp_path / 'again.pth').exists()


def test_a_container_can_be_named(tool, tiny_config, tmp_path):
    config = tiny_config()
    state = plain_of(config).state_dict()
    averaged = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    torch.save(dict(model=state, model_ema=averaged), tmp_path / 'a.pth')
    main, stem = tool('model_converters/adopt'), 'backbone.conv1.weight'
    main([str(tmp_path / 'a.pth'), str(tmp_path / 'first.pth'), '--config', config])
    main([str(tmp_path / 'a.pth'), str(tmp_path / 'named.pth'), '--config', config, '--container', 'model'])
    assert not read_checkpoint(tmp_path / 'first.pth')['state_dict'][stem].any()
    assert torch.equal(read_checkpoint(tmp_path / 'named.pth')['state_dict'][stem], state[stem])
