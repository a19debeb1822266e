# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: the cells are hidden from every layer of the network (layer masking) rather than filled with the mean colour.
_base_ = './masksub_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(sub_masking=dict(type='mmmaskany.HideFromLayers', size=(32, 32)))
