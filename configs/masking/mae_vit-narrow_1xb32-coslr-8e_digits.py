# mmpretrain's own MAE with its own masks, random tokens: the twin of the one with noise.
_base_ = './mae-noise_vit-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(pattern=dict(_delete_=True, type='mmmaskany.RandomPattern', ratio=0.75, cell=4, base=4)),
)
