# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MixMask on MoCo v2, on the digits: an 8 x 8 grid of which half, in blocks, shows another digit.
#
#     python tools/dataset_converters/digits.py
#     python tools/benchmarks/digits_mixmask.py work_dirs/digits_mixmask
_base_ = './mocov2_resnet18-narrow_1xb64-coslr-15e_digits.py'

model = dict(
    type='mmmaskany.MixMaskMoCo',
    mixing=dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.BlockPattern', ratio=0.5, cell=4, base=4)),
)
