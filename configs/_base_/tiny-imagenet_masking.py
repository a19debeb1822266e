# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The reference's mixture for Tiny-ImageNet, at 64 px: grid 0.1 + patch 0.2 + random 0.1 (of 4 x 4, 8 x 8 or 16 x 16
# cells). The fill is left to the configs, as it is in the units of their normalised images.
tiny_imagenet_masking = dict(
    pattern=dict(
        type='mmmaskany.MixturePattern',
        patterns=[
            dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=2),
            dict(type='mmmaskany.PatchPattern', scale=0.5, base=2),
            dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[16, 8, 4], base=2),
        ],
        probs=[0.1, 0.2, 0.1],
    )
)
