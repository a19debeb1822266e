# mmpretrain's own SimMIM with its own masks, large cells anywhere: the twin of the one with noise.
_base_ = './simmim-noise_swin-narrow_1xb32-coslr-8e_digits.py'

random_cells = dict(type='mmmaskany.RandomPattern', ratio=0.6, cell=4, base=2)
train_pipeline = [
    dict(step, pattern=random_cells) if step['type'] == 'mmmaskany.PatternMask' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
