# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The reference's mixture for CIFAR-100, at 32 px: grid 0.1 + patch 0.3 + random 0.0. The fill is left to the configs,
# as it is in the units of their normalised images.
cifar100_masking = dict(
    pattern=dict(
        type='mmmaskany.MixturePattern',
        patterns=[
            dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1),
            dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
        ],
        probs=[0.1, 0.3],
    )
)
