# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The digits without labels, for pre-training: nothing to validate.
_base_ = './digits_bs32.py'

data_preprocessor = dict(
    _delete_=True,
    type='SelfSupDataPreprocessor',
    mean=_base_.data_preprocessor.mean,
    std=_base_.data_preprocessor.std,
    to_rgb=True,
)
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
