# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Early, then off: MaskAny's masks in the first five epochs, and whole images in the last three.
_base_ = '../maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

custom_hooks = [dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin=5)]
