# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The checkpoint of a classifier starts a detector and a segmentor with one option, in one process and in two."""

import re

import pytest
import torch
from launching import run
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.checkpoints.protection import read_checkpoint

HOST = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, out_indices=(0, 1, 2, 3))
BACKBONE = dict(
    _delete_=True,
    type='mmmaskany.MaskAny',
    backbone=HOST,
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/another.pth', prefix='backbone.'),
)


@pytest.fixture
def fine_tune(write_library_config, tool, tmp_path, capfd):
    """Start a library's training from a checkpoint, with a learning rate of 0; return its log and the weights."""

    def train(library, checkpoint):
        pytest.importorskip(library)
        end = dict(mmdet=dict(max_epochs=1), mmseg=dict(max_iters=4))[library]
        config = write_library_config(tmp_path, library, model=dict(backbone=BACKBONE), train_cfg=end)
        run_dir = tmp_path / 'run'
        option = f'model.backbone.init_cfg.checkpoint={checkpoint}'
        tool('train')([config, '--work-dir', str(run_dir), '--cfg-options', option, 'optim_wrapper.optimizer.lr=0.0'])
        return ''.join(capfd.readouterr()), read_checkpoint(next(run_dir.glob('*_[14].pth')))['state_dict']

    return train


def check_start(weights, source):
    """What training with a rate of 0 leaves as it was: all but the statistics of batch norms."""
    kept = [name for name in source if name.startswith('backbone.') and not re.search(r'running_|num_batches', name)]
    assert len(kept) >= 60 and all(torch.equal(weights[name], source[name]) for name in kept)


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_classifier_starts_a_detector_and_a_segmentor(library, fine_tune, trained):
    log, weights = fine_tune(library, trained / 'epoch_2.pth')
    assert 'MaskAnyResNet_CIFAR: the checkpoint fills all 106 tensors of the backbone.' in log
    check_start(weights, read_checkpoint(trained / 'epoch_2.pth')['state_dict'])


def test_plain_classifier_is_adopted(fine_tune, trained, tmp_path):
    state = read_checkpoint(trained / 'epoch_2.pth')['state_dict']
    plain = {name: tensor for name, tensor in state.items() if not name.startswith('backbone.relu.')}
    torch.save(dict(state_dict=plain), tmp_path / 'plain.pth')
    log, weights = fine_tune('mmdet', tmp_path / 'plain.pth')
    assert 'adopted a plain checkpoint, which fills all 100 tensors of the host' in log
    check_start(weights, plain)
    assert torch.equal(weights['backbone.relu.reused.conv1.weight'], plain['backbone.conv1.weight'])
    assert not weights['backbone.relu.fusion.scale'].any()


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_what_mixmask_pretrained_starts_them_too(library, fine_tune, tmp_path):
    """With its momentum encoder, queue and projection beside the backbone, which is adopted."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmmaskany.MixMaskMoCo',
            backbone={key: value for key, value in HOST.items() if key != 'out_indices'},
            neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=8, out_channels=8),
            head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss')),
            queue_len=8,
            feat_dim=8,
            mixing=dict(type='mmmaskany.UnMix'),
        )
    )
    source = model.state_dict()
    torch.save(dict(state_dict=source), tmp_path / 'pretrained.pth')
    log, weights = fine_tune(library, tmp_path / 'pretrained.pth')
    assert 'adopted a plain checkpoint, which fills all 100 tensors of the host' in log
    check_start(weights, source)
    # The plain backbone takes it as well, by the same option.
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'pretrained.pth'), prefix='backbone.')
    plain = MODELS.build(dict(HOST, init_cfg=init_cfg))
    plain.init_weights()
    assert all(torch.equal(value, source[f'backbone.{key}']) for key, value in plain.state_dict().items())


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_another_classifier_is_refused(library, fine_tune, trained, tmp_path):
    state = read_checkpoint(trained / 'epoch_2.pth')['state_dict']
    state['backbone.layer4.2.conv1.weight'] = torch.zeros(32, 32, 3, 3)
    torch.save(dict(state_dict=state), tmp_path / 'deeper.pth')
    with pytest.raises(
        ValueError, match=r'deeper\.pth: the checkpoint does not fit .* 1 have no place \(layer4\.2\.conv1\.weight\)'
    ):
        fine_tune(library, tmp_path / 'deeper.pth')
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize(
    ('library', 'checkpoint', 'steps', 'validated'),
    [
        ('mmdet', 'epoch_2.pth', 4, r'Epoch\(val\) \[2\]\[1/1\]'),
        ('mmseg', 'iter_8.pth', 8, r'\(val\) .*mIoU: \d'),
    ],
)
def test_two_processes(library, checkpoint, steps, validated, write_library_config, tmp_path):
    """Two processes train and validate; a step of both takes four of the eight images."""
    pytest.importorskip(library)
    status, output = run('dist_train.sh', write_library_config(tmp_path, library), 2, '--work-dir', tmp_path / 'run')
    assert status == 0, output
    assert 'through gloo' in output and re.search(validated, output)
    assert read_checkpoint(tmp_path / 'run' / checkpoint)['meta']['iter'] == steps
