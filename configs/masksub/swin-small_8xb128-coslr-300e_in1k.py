# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Swin-S on ImageNet-1k, the plain twin: mmpretrain's own recipe, on 8 GPUs instead of 16.
_base_ = 'mmpretrain::swin_transformer/swin-small_16xb64_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

train_dataloader = dict(batch_size=128, num_workers=8)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
