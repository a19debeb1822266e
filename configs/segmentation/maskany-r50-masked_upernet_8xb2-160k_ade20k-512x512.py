# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: masked in fine-tuning too, as in pre-training.
_base_ = ['./maskany-r50_upernet_8xb2-160k_ade20k-512x512.py', '../_base_/in1k_masking.py']

# Black before normalising, in the units of the normalised image.
black = [-m / s for m, s in zip(_base_.model.data_preprocessor.mean, _base_.model.data_preprocessor.std, strict=True)]
model = dict(backbone=dict(masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=black))))
