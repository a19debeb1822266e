# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# As for the digits with labels, but with AdamW, for pre-training.
_base_ = './digits_bs32_coslr-8e.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3 * 32 / 32, betas=(0.9, 0.95), weight_decay=0.05),
)
val_cfg = None
test_cfg = None
