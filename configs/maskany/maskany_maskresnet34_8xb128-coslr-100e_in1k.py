# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
_base_ = '../maskany_r50_in1k.py'

model = dict(backbone=dict(depth=34), head=dict(in_channels=512))
