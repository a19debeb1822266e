# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# What the paper's code masks, in pixels of the image as it is loaded. Its grid has cells of every side from 4 to 16 px,
# height and width apart, from the top left corner on. Of random cells it draws each by itself and loses those that do
# not fit into the reused view; here exactly a quarter is masked and all of it shown. Which side its patches have is not
# known (0.2, 0.25, 0.5 or 0.75 of the image's): here 0.5, so that the reused view shows a patch as large as it is.
reference_grid = dict(type='mmmaskany.GridPattern', scale=0.5, cell=list(range(4, 17)), base=1, phase='fixed')
reference_patterns = dict(
    in1k=dict(type='mmmaskany.MixturePattern', patterns=[reference_grid], probs=[0.2]),
    cifar100=dict(
        type='mmmaskany.MixturePattern',
        patterns=[reference_grid, dict(type='mmmaskany.PatchPattern', scale=0.5, base=1)],
        probs=[0.1, 0.3],
    ),
    tiny_imagenet=dict(
        type='mmmaskany.MixturePattern',
        patterns=[
            reference_grid,
            dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
            dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[16, 8, 4], base=1),  # 4 x 4, 8 x 8, 16 x 16 of them
        ],
        probs=[0.1, 0.2, 0.1],
    ),
)
