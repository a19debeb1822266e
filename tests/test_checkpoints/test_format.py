# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The format of checkpoints, tried with a module whose function changes from format 1 to 2."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn

from mmmaskany.checkpoints import format as format_module
from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.format import FORMAT, FormatMixin, NewerFormatError, format_of, stamp
from mmmaskany.checkpoints.mismatch import find_mismatch
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.checkpoints.resume import find_resume_point

IMAGE = torch.tensor([[1.0, 2.0]])


class Scale(nn.Module):
    """What the network was in format 1, when it had no number."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return self.weight * x


@pytest.fixture
def changed(monkeypatch):
    """Raise the format to 2, where the module begins to negate: its class."""
    monkeypatch.setattr(format_module, 'FORMAT', 2)

    class Changed(FormatMixin, Scale):
        formats = (1, 2)

        def forward(self, x):
            return super().forward(x) * (-1 if self.format >= 2 else 1)

    return Changed


@pytest.fixture
def network(changed, monkeypatch):
    """Register a model of each library with such a module as its backbone: ``network(**init_cfg)`` builds it."""

    class Backbone(BaseModule):
        def __init__(self, init_cfg=None):
            super().__init__(init_cfg)
            self.scale = changed()

        def forward(self, x):
            return self.scale(x)

    class Network(BaseModel):
        def __init__(self, backbone=None, data_preprocessor=None, **kwargs):
            super().__init__()
            self.backbone = Backbone(**(backbone or {}))

        def forward(self, inputs, mode='tensor', **kwargs):
            outputs = self.backbone(torch.stack(inputs) if isinstance(inputs, list) else inputs)
            return dict(loss=outputs.sum()) if mode == 'loss' else outputs

    monkeypatch.setitem(MODELS.module_dict, 'FormatNetwork', Network)
    monkeypatch.setitem(DATASETS.module_dict, 'FormatDataset', lambda: [dict(inputs=IMAGE[0])] * 2)
    return Network


@pytest.fixture
def files(network, tmp_path):
    """Checkpoints with a weight of 3: of format 1 with and without a number, of format 2, and a bare state dict."""
    old = {'backbone.scale.weight': torch.tensor(3.0)}
    new = network()
    new.load_state_dict({**new.state_dict(), **old})
    contents = dict(
        unnumbered=dict(meta=dict(dataset_meta={}), state_dict=old),
        first=dict(meta=dict(dataset_meta={}, mmmaskany_format=1), state_dict=old),
        second=stamp(dict(meta=dict(dataset_meta={}), state_dict=new.state_dict())),
    )
    for name, content in contents.items():
        torch.save(content, tmp_path / f'{name}.pth')
    return tmp_path


SIGNS = [('unnumbered', 1), ('first', 1), ('second', -1)]


def test_number_is_written_and_read():
    assert format_of({}) == format_of(dict(meta=None)) == format_of(dict(weight=torch.ones(1))) == 1
    assert format_of(dict(meta=dict(mmmaskany_format=7))) == 7
    given = dict(meta=dict(epoch=3), state_dict={})
    assert stamp(given) == dict(meta=dict(epoch=3, mmmaskany_format=FORMAT), state_dict={})
    assert given == dict(meta=dict(epoch=3), state_dict={})
    assert stamp(given, 7) == dict(meta=dict(epoch=3, mmmaskany_format=7), state_dict={})
    assert stamp(dict(weight=0)) == dict(weight=0)
    assert stamp(dict(meta=dict(mmmaskany_format=7)))['meta'] == dict(mmmaskany_format=7)
    for number in (0, -1, '1', 1.0, True, None):
        with pytest.raises(ValueError, match=r"meta\['mmmaskany_format'\] .* must be a whole number from 1 on, but is"):
            format_of(dict(meta=dict(mmmaskany_format=number)))


def test_the_history_ends_with_today():
    numbers = re.findall(r'^(\d+)\. ', format_module.__doc__, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, FORMAT + 1)]


def test_a_newer_file_is_refused(tmp_path):
    torch.save(dict(meta=dict(mmmaskany_format=FORMAT + 1), state_dict={}), tmp_path / 'epoch_2.pth')
    atomic_write(tmp_path / 'epoch_1.pth', serialise(dict(meta={}, message_hub={}, state_dict={})))
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    sentence = rf'epoch_2.pth must be of format {FORMAT} or older, .* but is of format {FORMAT + 1}: .* newer mmmaskany'
    path = str(tmp_path / 'epoch_2.pth')
    for read in (read_checkpoint, CheckpointLoader.load_checkpoint, lambda path: load_checkpoint(nn.Identity(), path)):
        with pytest.raises(NewerFormatError, match=sentence):
            read(path)
    with pytest.raises(NewerFormatError, match=sentence):  # and not resumed from an older one, which would lose it
        find_resume_point(tmp_path)


def test_a_module_knows_only_formats_that_there_are(changed):
    for formats in ((), (0, 1), (2, 1), (1, 1), (1, 3)):
        with pytest.raises(TypeError, match=r'formats of Wrong must ascend, within 1 to 2, but is'):
            type('Wrong', (FormatMixin, Scale), dict(formats=formats))


def test_function_follows_the_tensors(changed):
    assert changed()(IMAGE).tolist() == [[-1, -2]]  # a new network
    module = changed()
    module.load_state_dict(Scale(3.0).state_dict())  # strict
    assert module(IMAGE).tolist() == [[3, 6]] and module.format == 1
    for other in (copy.deepcopy(module), changed()):
        other.load_state_dict(module.state_dict())
        assert other(IMAGE).tolist() == [[3, 6]]  # trained on, it still is what it was
    module.load_state_dict(changed(4.0).state_dict())
    assert module(IMAGE).tolist() == [[-4, -8]]
    assert not find_mismatch(nn.ModuleList([module]), {'0.weight': torch.tensor(3.0)})


def test_function_stays_where_no_tensor_is_loaded(changed):
    part = nn.ModuleDict(dict(scale=changed(), other=nn.Linear(1, 1)))
    assert part.load_state_dict({'other.bias': torch.ones(1)}, strict=False).missing_keys == [
        'scale.weight',
        'other.weight',
    ]
    assert part['scale'].format == 2
    with pytest.raises(RuntimeError, match=r'Missing key.*scale\.weight'):
        part.load_state_dict({'other.bias': torch.ones(1), 'other.weight': torch.ones(1, 1)})


def test_a_module_without_tensors_cannot_tell(changed):
    empty = type('Empty', (FormatMixin, nn.Identity), {})()
    with pytest.raises(TypeError, match='Empty must hold tensors'):
        empty.load_state_dict({})


def test_a_format_that_is_not_computed_any_longer_is_refused_with_the_way_out(changed):
    class Renewed(changed):
        formats = (2,)
        way_out = "Set scale='positive'."

    sentence = r"Renewed must be of format 2 or newer, but is of format 1, .* else\. Set scale='positive'\."
    with pytest.raises(ValueError, match=sentence):
        Renewed().load_state_dict(Scale(3.0).state_dict())
    with pytest.raises(NewerFormatError, match='checkpoint of Renewed must be of format 2 or older'):
        Renewed().load_state_dict(dict(weight=torch.tensor(3.0), _extra_state=torch.tensor(3)))


@pytest.mark.parametrize(('name', 'sign'), SIGNS)
@pytest.mark.parametrize('way', ['init_cfg', 'prefix', 'load_checkpoint', 'renamed', 'get_model', 'init_detector'])
def test_function_follows_the_file(way, name, sign, files, network):
    path = str(files / f'{name}.pth')
    cfg = Config(dict(model=dict(type='FormatNetwork', backbone={}), default_scope='mmengine'))
    if way == 'init_cfg':
        model = network()
        model.init_cfg = dict(type='Pretrained', checkpoint=path)
        model.init_weights()
    elif way == 'prefix':  # where MMEngine loses the metadata of the state dict
        model = network(dict(init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.')))
        model.init_weights()
    elif way == 'load_checkpoint':
        load_checkpoint(model := network(), path)
    elif way == 'renamed':  # as mmdet's and mmseg's Swin do
        tensors = CheckpointLoader.load_checkpoint(path)['state_dict']
        model = network()
        model.backbone.load_state_dict({key.removeprefix('backbone.'): tensors[key] for key in tensors}, strict=False)
    elif way == 'get_model':
        from mmpretrain import get_model

        model = get_model(cfg, pretrained=path)
    else:
        from mmdet.apis import init_detector

        with DefaultScope.overwrite_default_scope('mmengine'):
            model = init_detector(cfg, path, palette='coco', device='cpu')
    assert model(IMAGE).tolist() == [[sign * 3, sign * 6]]


def train(folder, epochs, **changes):
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler'), dataset=dict(type='FormatDataset'))
    return Runner.from_cfg(
        Config(
            dict(
                default_scope='mmengine',
                model=dict(type='FormatNetwork'),
                work_dir=str(folder),
                experiment_name=f'{folder.name}-{epochs}',
                train_dataloader=loader,
                train_cfg=dict(by_epoch=True, max_epochs=epochs),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
                custom_hooks=[dict(type='EMAHook')],
                **changes,
            )
        )
    )


@pytest.mark.parametrize(('name', 'sign'), SIGNS)
def test_function_is_kept_in_training_and_resuming(name, sign, files, network, tmp_path):
    train(tmp_path / name, 1, load_from=str(files / f'{name}.pth')).train()
    saved = read_checkpoint(tmp_path / name / 'epoch_1.pth')
    assert format_of(saved) == 2  # what wrote it, not what the module computes
    for section, key in (('state_dict', 'backbone'), ('ema_state_dict', 'module.backbone')):
        assert saved[section][f'{key}.scale._extra_state'] == (1 if sign == 1 else 2)
    runner = train(tmp_path / name, 2, resume=True)
    runner.train()
    averaged = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model')).ema_model
    assert runner.epoch == 2
    for model in (runner.model, averaged):
        assert model(IMAGE).tolist() == [[sign * 3, sign * 6]]


@pytest.mark.parametrize(('name', 'format_'), [('plain', 2), ('ours', 1)])
def test_what_a_plain_network_gets_is_the_newest_function(name, format_):
    """A file of the plain host was never trained with an older function of ours, though it bears no number either."""
    from mmmaskany.models.stems import AddFusion

    class ChangedFusion(FormatMixin, AddFusion):
        formats = (1, 2)

    host = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    model = MODELS.build(dict(type='mmmaskany.MaskAny', backbone=host, fusion=ChangedFusion(4)))
    source = MODELS.build(host if name == 'plain' else dict(type='mmmaskany.MaskAny', backbone=host))
    model.load_state_dict(source.state_dict(), strict=False)
    assert model.dual_stem.fusion.format == format_
