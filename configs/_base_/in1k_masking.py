# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# How configs/maskany_r50_in1k.py masks: one image in five, every second cell in both directions. The fill is left to
# the configs, as it is in the units of their normalised images.
in1k_masking = dict(
    pattern=dict(
        type='mmmaskany.MixturePattern',
        patterns=[dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=4)],
        probs=[0.2],
    )
)
