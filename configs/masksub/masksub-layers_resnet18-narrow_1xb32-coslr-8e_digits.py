# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: the cells are hidden from every layer of the network (layer masking) rather than filled with the mean colour.
#
# Measured: Top-1 (%) 99.15 ± 0.28, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_guided --seeds 0 1 2 --configs \
#         configs/masksub/masksub-layers_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = './masksub_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(sub_masking=dict(type='mmmaskany.HideFromLayers', size=(32, 32)))
