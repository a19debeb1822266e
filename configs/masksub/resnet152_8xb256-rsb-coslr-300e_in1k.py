# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ResNet-152, the plain twin: the recipe of ResNet-50.
_base_ = './resnet50_8xb256-rsb-coslr-300e_in1k.py'

model = dict(backbone=dict(depth=152))
