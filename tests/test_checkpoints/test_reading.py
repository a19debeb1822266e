# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import argparse
import collections
import copy
import datetime
import gzip
import json
import pathlib

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from safetensors.torch import save_file
from torch import nn

from mmmaskany.checkpoints.mismatch import CheckpointMismatchError, find_mismatch
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.reading import place, read_weights
from mmmaskany.models import MaskAny

R18 = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)


@pytest.fixture(scope='module')
def plain():
    torch.manual_seed(0)
    host = MODELS.build(R18)
    host.init_weights()
    host.eval()
    return host


@pytest.fixture(scope='module')
def tensors(plain):
    return dict(plain.state_dict())


def wrapped(tensors, prefix):
    return {f'{prefix}{name}': tensor for name, tensor in tensors.items()}


def started(path, **options):
    """A backbone with a second stem that starts from a file."""
    model = MaskAny(copy.deepcopy(R18), init_cfg=dict(type='Pretrained', checkpoint=str(path), **options))
    model.init_weights()
    model.eval()
    return model


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


OPTIMIZER = dict(state={0: dict(step=torch.ones(1), exp_avg=torch.ones(4, 3, 3, 3))}, param_groups=[dict(lr=0.1)])
FORMS = {
    'bare': lambda t: t,
    'ordered': collections.OrderedDict,
    'state_dict': lambda t: dict(state_dict=t),
    'model': lambda t: dict(model=t, optimizer=dict(state={0: dict(step=torch.ones(1))}), epoch=3),
    'ema before trained': lambda t: dict(state_dict=zeros(t), state_dict_ema=t),
    'model_ema': lambda t: dict(model=zeros(t), model_ema=t, args=argparse.Namespace(lr=0.1, out=pathlib.Path('a/b'))),
    'teacher': lambda t: dict(student=wrapped(zeros(t), 'module.backbone.'), teacher=wrapped(t, 'backbone.')),
    'ema.module': lambda t: dict(model=zeros(t), ema=dict(decay=0.99, module=t)),
    'DDP': lambda t: wrapped(t, 'module.'),
    'compiled': lambda t: wrapped(t, '_orig_mod.'),
    'compiled in DDP': lambda t: dict(model=wrapped(t, 'module._orig_mod.')),
    'Lightning': lambda t: dict(
        state_dict=wrapped(t, 'model.'), hyper_parameters=dict(lr=0.1, path=pathlib.PosixPath('x')), callbacks={}
    ),
    'OpenMMLab': lambda t: dict(meta=dict(epoch=1), state_dict=wrapped(t, 'backbone.')),
    'an unknown wrapper': lambda t: wrapped(t, 'image_tower.trunk.'),
    'an unknown container': lambda t: dict(my_network=t, note='x'),
    'arrays': lambda t: {name: tensor.numpy() for name, tensor in t.items()},
    'numbers beside': lambda t: dict(
        model=t, best=np.float64(0.8), when=datetime.datetime(2024, 1, 1), counts=collections.Counter('ab')
    ),
    "timm's model_best.pth.tar": lambda t: dict(
        epoch=3, arch='resnet18', state_dict=zeros(t), optimizer=OPTIMIZER, version=2, metric=0.5, state_dict_ema=t
    ),
    'ema_state_dict': lambda t: dict(state_dict=zeros(t), ema_state_dict=t),
    'model_ema_state_dict': lambda t: dict(model=zeros(t), model_ema_state_dict=t),
    "MMEngine's averages are in state_dict": lambda t: dict(
        meta=dict(epoch=1),
        state_dict=wrapped(t, 'backbone.'),
        ema_state_dict=dict(wrapped(zeros(t), 'module.backbone.'), steps=torch.tensor(3)),
    ),
    'Lightning, two networks': lambda t: dict(
        state_dict={**wrapped(zeros(t), 'net.'), **wrapped(t, 'ema_net.'), 'criterion.weight': torch.ones(10)},
        callbacks={"ModelCheckpoint{'monitor': 'acc'}": dict(best_model_score=torch.tensor(0.5))},
        optimizer_states=[OPTIMIZER],
    ),
    'FSDP': lambda t: dict(model={k.replace('layer1.', 'layer1._fsdp_wrapped_module.', 1): v for k, v in t.items()}),
    'DeepSpeed': lambda t: dict(module=t, buffer_names=[], param_shapes=[dict(a=torch.Size([1]))], ds_config={}),
    'averaged by torch': lambda t: dict(wrapped(t, 'module.'), n_averaged=torch.tensor(5)),
    'averaged by torch, beside': lambda t: dict(
        model=zeros(t), swa=dict(wrapped(t, 'module.'), n_averaged=torch.tensor(5))
    ),
    'DINO': lambda t: dict(
        student=wrapped(dict(wrapped(zeros(t), 'backbone.'), **{'head.mlp.0.weight': torch.ones(4, 4)}), 'module.'),
        teacher=dict(wrapped(t, 'backbone.'), **{'head.mlp.0.weight': torch.ones(4, 4)}),
        dino_loss=dict(center=torch.ones(1, 4)),
    ),
    'MoCo': lambda t: dict(
        state_dict={
            **wrapped(t, 'module.encoder_q.'),
            **wrapped(zeros(t), 'module.encoder_k.'),
            'module.queue': torch.ones(3, 3),
        }
    ),
    'MoCo v3': lambda t: dict(
        state_dict={
            **wrapped(zeros(t), 'module.momentum_encoder.'),
            **wrapped(t, 'module.base_encoder.'),
            'module.predictor.0.weight': torch.ones(3, 3),
        }
    ),
    'SwAV': lambda t: dict(wrapped(t, 'module.'), **{'module.prototypes.weight': torch.ones(3, 3)}),
    'BYOL': lambda t: {**wrapped(zeros(t), 'target_encoder.net.'), **wrapped(t, 'online_encoder.net.')},
    'BYOL, two containers': lambda t: dict(
        target_network_state_dict=wrapped(zeros(t), 'encoder.'), online_network_state_dict=wrapped(t, 'encoder.')
    ),
    'VISSL': lambda t: dict(
        classy_state_dict=dict(
            base_model=dict(model=dict(trunk=wrapped(t, '_feature_blocks.'), heads={'0.clf.weight': torch.ones(3, 3)}))
        )
    ),
    'doubles': lambda t: {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in t.items()
    },
    'parameters': lambda t: {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in t.items()},
    'a classifier': lambda t: dict(t, **{'fc.weight': torch.ones(7, 32), 'fc.bias': torch.ones(7)}),
    'a 21k head': lambda t: dict(t, **{'head.weight': torch.ones(21841, 2), 'mask_token': torch.ones(1)}),
}


def zeros(tensors):
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize('form', FORMS)
def test_each_form_of_a_file_starts_a_network_with_the_plain_function(form, plain, tensors, tmp_path):
    torch.save(FORMS[form](tensors), tmp_path / 'a.pth')
    model = started(tmp_path / 'a.pth')
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(image)[0], plain(image)[0])
    assert model.dual_stem.fusion.is_silent()


def test_safetensors(plain, tensors, tmp_path):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / 'a.safetensors')
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(started(tmp_path / 'a.safetensors')(image)[0], plain(image)[0])
    data = (tmp_path / 'a.safetensors').read_bytes()
    (tmp_path / 'b.safetensors').write_bytes(data[:-10])
    with pytest.raises(ValueError, match=r'b\.safetensors must be a complete PyTorch file, but is truncated'):
        read_weights(tmp_path / 'b.safetensors')


def test_half_precision_and_what_pytorch_wrote_before_zip(plain, tensors, tmp_path):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    torch.save(half, tmp_path / 'half.pth', _use_new_zipfile_serialization=False)
    model = started(tmp_path / 'half.pth')
    assert model.conv1.weight.dtype is torch.float32
    torch.testing.assert_close(model.conv1.weight, tensors['conv1.weight'], atol=1e-3, rtol=1e-3)
    torch.save({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / 'bf16.pth')
    model = started(tmp_path / 'bf16.pth')
    assert model.conv1.weight.dtype is torch.float32
    assert torch.equal(model.conv1.weight, tensors['conv1.weight'].bfloat16().float())


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda t: (100 * t).to(torch.int8), 'conv1.weight is int8: it is quantised'),
        (lambda t: t.to(torch.float8_e4m3fn), 'conv1.weight is float8_e4m3fn'),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), 'conv1.weight is qint8'),
        (lambda t: t.to(torch.complex64), 'conv1.weight is complex64'),
        (lambda t: t * float('nan'), 'conv1.weight holds NaN or infinity: the training that wrote it diverged'),
    ],
)
@pytest.mark.filterwarnings('ignore')
def test_codes_and_what_is_no_number_are_refused(change, text, tensors, tmp_path):
    torch.save({name: change(each) if each.dim() == 4 else each for name, each in tensors.items()}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f'the weights of checkpoint .*a.pth must be .*, but {text}'):
        started(tmp_path / 'a.pth')


def test_a_file_in_parts_is_read_by_its_index(plain, tensors, tmp_path):
    names = {name: f'model-0000{1 + index % 2}-of-00002.safetensors' for index, name in enumerate(tensors)}
    for part in set(names.values()):
        save_file({name: tensors[name].contiguous() for name in tensors if names[name] == part}, tmp_path / part)
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map=names)))
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(started(index)(image)[0], plain(image)[0])
    with pytest.raises(
        ValueError, match=r'is part 1 of 2: give the index of the parts, model\.safetensors\.index\.json'
    ):
        read_weights(tmp_path / 'model-00001-of-00002.safetensors')
    with pytest.raises(FileNotFoundError, match=r'a folder: give the file model\.safetensors\.index\.json in it'):
        read_weights(tmp_path)
    index.write_text(json.dumps(dict(weight_map=dict(names, **{'layer9.weight': names['conv1.weight']}))))
    with pytest.raises(ValueError, match=r'must hold all its \d+ tensors, but layer9\.weight is missing'):
        read_weights(index)
    index.write_text(json.dumps(dict(weight_map={'a': '../secret.safetensors'})))
    with pytest.raises(ValueError, match="must be files beside it, but one is '../secret"):
        read_weights(index)
    index.write_text(json.dumps(dict(weight_map={'a': 'model-00003-of-00003.safetensors'})))
    with pytest.raises(FileNotFoundError, match='there is no model-00003-of-00003'):
        read_weights(index)
    for text in ('{}', '[]', '{', '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(ValueError, match="must be the index of a file in parts, JSON with 'weight_map'"):
            read_weights(index)


@pytest.mark.parametrize(
    ('file', 'text'),
    [
        ('.metadata', 'torch.distributed.checkpoint.*dcp_to_torch'),
        ('zero_to_fp32.py', 'a folder of DeepSpeed: .*zero_to_fp32.py'),
        ('saved_model.pb', 'a folder of TensorFlow'),
        ('epoch_1.pth', 'give the file epoch_1.pth in it'),
    ],
)
def test_folders_are_said_to_be_what_they_are(file, text, tmp_path):
    (tmp_path / file).touch()
    with pytest.raises(FileNotFoundError, match=f'must be an existing file, but got .*{text}'):
        read_weights(tmp_path)


def test_the_state_of_an_optimizer_alone_says_so(tmp_path):
    for content in (OPTIMIZER, dict(optimizer=OPTIMIZER, epoch=3)):
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(ValueError, match='the state of an optimizer without its network'):
            read_weights(tmp_path / 'a.pth')


def test_an_onnx_file_says_so(tmp_path):
    onnx = pytest.importorskip('onnx')
    node = onnx.helper.make_node('Relu', ['x'], ['y'])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in 'xy']
    graph = onnx.helper.make_graph([node], 'graph', values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph, producer_name='pytorch'), str(tmp_path / 'a.pth'))
    with pytest.raises(ValueError, match='is an ONNX file, .*: give the checkpoint that it was exported from'):
        read_weights(tmp_path / 'a.pth')


def test_what_was_taken_is_said_and_an_option_names_another(tensors, tmp_path):
    content = dict(model=wrapped(zeros(tensors), 'module.'), model_ema=tensors, epoch=7, meta=dict(a=1))
    torch.save(content, tmp_path / 'a.pth')
    weights = read_weights(tmp_path / 'a.pth')
    assert (weights.container, weights.wrapper, weights.others) == ('model_ema', '', ('model',))
    assert weights.meta == dict(a=1) and "'model_ema' of" in str(weights) and "it also has 'model'" in str(weights)
    other = read_weights(tmp_path / 'a.pth', 'model')
    assert (other.container, other.wrapper) == ('model', 'module.') and not other.tensors['conv1.weight'].any()
    assert not started(tmp_path / 'a.pth', container='model').conv1.weight.any()
    with pytest.raises(ValueError, match=r"container must be one of 'model', 'model_ema'.* but got 'teacher'"):
        read_weights(tmp_path / 'a.pth', 'teacher')
    torch.save(dict(a=tensors, b=tensors), tmp_path / 'two.pth')
    with pytest.raises(ValueError, match=r"must say where its weights lie, but holds tensors in 'a', 'b'"):
        read_weights(tmp_path / 'two.pth')
    torch.save({**wrapped(tensors, 'left.'), **wrapped(tensors, 'right.')}, tmp_path / 'pair.pth')
    with pytest.raises(ValueError, match=r"has several, below 'left\.', 'right\.': name one of them as the prefix"):
        started(tmp_path / 'pair.pth')
    started(tmp_path / 'pair.pth', prefix='right.')
    with pytest.raises(ValueError, match=r"must begin with 'middle\.', but it has \['left\.conv1\.weight'"):
        started(tmp_path / 'pair.pth', prefix='middle')


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7\nsize 12\n', 'a pointer of Git LFS'),
        (b'<!DOCTYPE html><html>sign in</html>', 'a web page, not the file itself'),
        (b'\x89HDF\r\n\x1a\n' + bytes(100), 'an HDF5 file, as Keras and TensorFlow write'),
        (gzip.compress(b'abc', mtime=0), 'compressed with gzip'),
        (json.dumps(dict(weight_map={})).encode(), 'the index of a file in parts'),
        (bytes(4) + b'TFL3' + bytes(9), 'a network of TensorFlow Lite'),
        (b'<?xml version="1.0"?><net name="a">', 'a network of OpenVINO'),
        (b'hello\nworld', "text, which begins with 'hello'"),
        (b'\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.', 'a plain pickle'),
        (b'', r'truncated or something else \(0 bytes\)'),
    ],
)
def test_other_files_are_said_to_be_what_they_are(content, text, tmp_path):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(ValueError, match=f'a.pth must be a complete PyTorch file, but is .*{text}'):
        read_checkpoint(tmp_path / 'a.pth')


def test_programs_and_whole_modules_are_refused_with_the_way_out(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / 'script.pt'))
    with pytest.raises(ValueError, match=r'a TorchScript program, which holds code: .*torch\.jit\.load'):
        read_weights(tmp_path / 'script.pt')
    torch.save(dict(model=Wrapped()), tmp_path / 'module.pth')
    with pytest.raises(
        ValueError, match=r'must hold tensors and plain values only, but also holds .*Wrapped.*state_dict'
    ):
        read_weights(tmp_path / 'module.pth')
    np.savez(tmp_path / 'jax.npz', a=np.ones(2))
    with pytest.raises(ValueError, match='an archive of NumPy arrays'):
        read_weights(tmp_path / 'jax.npz')
    with pytest.raises(FileNotFoundError, match='a folder'):
        read_weights(tmp_path)


def test_records_of_libraries_that_are_not_there_are_read_as_their_fields(tmp_path):
    class CfgNode(dict):
        __module__, __qualname__ = 'yacs.config', 'CfgNode'

    import sys
    import types

    sys.modules['yacs'], sys.modules['yacs.config'] = types.ModuleType('yacs'), types.ModuleType('yacs.config')
    sys.modules['yacs.config'].CfgNode = CfgNode
    try:
        node = CfgNode(MODEL=CfgNode(NAME='swin'))
        torch.save(dict(model=dict(w=torch.ones(1)), config=node), tmp_path / 'a.pth')
    finally:
        del sys.modules['yacs'], sys.modules['yacs.config']
    assert read_checkpoint(tmp_path / 'a.pth')['config'] == dict(MODEL=dict(NAME='swin'))


def test_what_is_left_over_and_what_is_too_much(plain, tensors):
    class Host(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Identity())

    own = dict(Host().state_dict())
    beyond = ('fc.weight', 'head.0.weight', 'head.fc.bias', 'mask_token')
    mismatch = find_mismatch(Host(), dict(own, **dict.fromkeys(beyond, torch.ones(1))))
    assert not mismatch and mismatch.left == list(beyond)
    assert mismatch.describe_left() == 'fc (1), head.0 (1), head.fc (1), mask_token'
    for name in ('body.1.weight', 'body.0.scale', 'body.gamma'):
        assert find_mismatch(Host(), dict(own, **{name: torch.ones(1)})).unexpected == [name]


def test_other_networks_are_refused(plain, tensors):
    deeper = MODELS.build(dict(R18, depth=34)).state_dict()
    for file in (deeper, wrapped(deeper, 'model.'), dict(list(tensors.items())[:5])):
        for host in (plain, MaskAny(copy.deepcopy(R18))):
            with pytest.raises(CheckpointMismatchError, match='must fill all 100 tensors and hold no other, but'):
                place(file, host)


def test_a_model_around_the_backbone(tensors):
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmmaskany.MaskAny', backbone=R18),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=32),
        )
    )
    head = dict(weight=torch.ones(3, 32), bias=torch.ones(3))
    for file in (
        dict(tensors, **wrapped(head, 'fc.')),  # torchvision's and timm's
        {**wrapped(tensors, 'backbone.'), **wrapped(head, 'head.fc.')},
        {**wrapped(tensors, 'model.backbone.'), **wrapped(head, 'model.head.fc.')},
    ):
        placed = place(file, model)
        assert torch.equal(placed['head.fc.weight'], head['weight'])
        assert torch.equal(placed['backbone.conv1.weight'], tensors['conv1.weight'])
    assert 'head.fc.weight' not in place(dict(tensors, **{'fc.weight': torch.ones(9, 32)}), model)
