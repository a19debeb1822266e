# MAE's ratio with labels: three of four cells are black, in four images of ten.
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(patterns=[dict(type='mmmaskany.RandomPattern', ratio=0.75, cell=4, base=1)]),
        ),
    ),
)
