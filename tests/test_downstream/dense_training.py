# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same training of a detector or segmentor in one process or two; as a script it is the second of two: FOLDER."""

import sys

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from test_masked_objects import NARROW, batch, build, detector, labelled, segmentor
from two_processes import process_group

from mmmaskany.engine import OwnStepDistributedDataParallel

STEPS = 2
PATTERN = dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8)
FILL = dict(type='mmmaskany.FillCells', pattern=PATTERN)
MASKED = dict(masking=dict(pattern=PATTERN, reuse=False))


def masksub(name):
    return detector(name, type='mmmaskany.MaskSubDetector', sub_masking=FILL)


#: What is trained, without batch statistics, so that it does not matter in which process an image is.
TRAININGS = {
    'MaskSubRetinaNet': lambda: masksub('RetinaNet'),
    'MaskSubFasterRCNN': lambda: masksub('FasterRCNN'),
    'MaskSubMaskRCNN': lambda: masksub('MaskRCNN'),
    'MaskedFasterRCNN': lambda: detector('FasterRCNN', objects='drop', **MASKED),
    'MaskedEncoderDecoder': lambda: segmentor(
        hidden_weight=0.5, backbone=dict(NARROW, type='mmseg.ResNet', norm_eval=True), **MASKED
    ),
}


def data_of(name):
    """Return two images of random pixels with their labels."""
    if name == 'MaskedEncoderDecoder':
        inputs, samples = labelled()
        return dict(inputs=torch.randn_like(inputs), data_samples=samples)
    inputs, samples = batch(masks=name == 'MaskSubMaskRCNN')
    return dict(inputs=inputs, data_samples=samples)


def train(name, ranks, distributed=False):
    """Train on the batches of some processes, whose mean gradient makes an update."""
    model = build(TRAININGS[name](), 'mmseg' if name == 'MaskedEncoderDecoder' else 'mmdet')
    assert type(model).__name__ == name
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01), accumulative_counts=len(ranks))
    optim_wrapper.initialize_count_status(model, 0, STEPS * len(ranks))
    own = OwnStepDistributedDataParallel if name.startswith('MaskSub') else MMDistributedDataParallel
    run = own(model) if distributed else model
    for step in range(STEPS):
        for rank in ranks:
            torch.manual_seed(10 * step + rank)  # images, masks and what a detector samples
            run.train_step(data_of(name), optim_wrapper)
    return model.state_dict()


def train_in_two_processes(rank, folder):
    """Yield the state of each training."""
    with process_group(rank, folder):
        for name in TRAININGS:
            yield train(name, [rank], distributed=True)


if __name__ == '__main__':
    list(train_in_two_processes(1, sys.argv[1]))
