# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Ten thousand images of CIFAR-10, a fifth of the training data, drawn once with a seed of its own: so few that what a
# network memorises matters. All 10,000 test images.
_base_ = './cifar10-folders_bs128.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='KFoldDataset',
        dataset=_base_.train_dataloader.dataset,
        num_splits=5,
        fold=0,
        test_mode=True,  # the one fold, not the four others
        seed=0,
    ),
)
