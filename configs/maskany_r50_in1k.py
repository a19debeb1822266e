# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAnyNet (arXiv 2511.12480) on ImageNet-1k: MaskResNet-50, 8 GPUs.
#
#     bash tools/dist_train.sh configs/maskany_r50_in1k.py 8
#
# Paper   As the paper's code: the network with its start values, one image in five masked by a grid, zero-filled, a
#         reused image of half the side; at test time nothing is masked.
#         Not as the paper's code, so that all variants cost the same and differ in one option: masks are drawn in the
#         model, after crop, flip and normalising, where the code draws them on the image as it is loaded; the reused
#         view of unmasked images is not augmented, where the code's gets AutoAugment; cells have 4, 8 or 16 px a side
#         and lie anywhere, where the code's have each of 4..16 px and lie at fixed places from the top left corner on.
#         The config that has the code's order, AutoAugment and grid is
#         configs/maskany/maskany_maskresnet50-pipeline_8xb128-coslr-100e_in1k.py
#         Unknown, and so not claimed: optimiser, rate, epochs and batch of the paper's training. docs/fidelity.md has
#         all of it in one table.
# Data    data/imagenet/{train,val}/<class>/*, or flat folders with meta/{train,val}.txt (mmpretrain's ImageNet).
# Recipe  The plain one of mmpretrain's own ResNet-50: SGD with momentum 0.9, weight decay 1e-4, 100 epochs, random
#         resized crop to 224 px and flip, cross entropy; no mixup, no label smoothing, no EMA. What is gained over the
#         plain twin is then the masking's. Two changes: a cosine instead of steps, and 8 x 128 images a step instead
#         of 8 x 32, with five epochs of warm-up, because today's GPUs are made for it.
# Rate    lr = 0.1 * batch / 256 = 0.1 * (8 * 128) / 256 = 0.4; on another number of GPUs give --auto-scale-lr.
# Memory  Give --amp to need about half of it, or keep the batch in smaller bites with
#         --cfg-options train_dataloader.batch_size=32 optim_wrapper.accumulative_counts=4
_base_ = [
    './_base_/models/maskresnet50.py',
    './_base_/datasets/imagenet_bs128.py',
    './_base_/schedules/imagenet_bs1024_coslr-100e.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        masking=dict(
            # One image in five is masked: every second cell in both directions, a quarter of the image. The reference
            # draws the height and the width of a cell each from 4..16 px; here they are those of 4, 8 and 16 px, whose
            # stride divides 224, so that no pixel is left out.
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=4)],
                probs=[0.2],
            ),
            # Black before normalising, as the reference fills; here in the units of the normalised image.
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        )
    )
)
