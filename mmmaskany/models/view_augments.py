# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Augments of the reused view, of images that are normalised already."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from mmmaskany.masking import Augment
from mmmaskany.masking.draw import memory_format
from mmmaskany.registry import MODELS

#: The policies of torchvision's AutoAugment.
POLICIES = [policy.value for policy in AutoAugmentPolicy]


@MODELS.register_module()
class AutoAugmentViews(Augment):
    """torchvision's AutoAugment of what the second stem sees of an image that is not masked.

    An unmasked sample's reused view would be nothing but the visible one, smaller: MaskAnyNet's own code
    (arXiv 2511.12480) changes it by AutoAugment (arXiv 1805.09501). That code works on the image as it was loaded, this
    class on the one that the backbone gets, so behind the crop, flip and mixup, which it turns into 8 bits and back.

    Each image has a policy of its own, one after the other: on a GPU, which must be waited for, it costs more than all
    masks. All random numbers come from torch's generator of the CPU, or follow from the one that is given.

    Args:
        policy (str): 'cifar10', 'imagenet' or 'svhn'.
        mean (Sequence[float]): What was subtracted of each channel, as of the data preprocessor, in units of 8 bits.
        std (Sequence[float]): What it was divided by.
        bgr (bool): Whether the channels are in the order of OpenCV; AutoAugment's colours are those of RGB. Defaults to
            False.

    Shape:
        - images: ``(B, 3, H, W)``, normalised.
        - output: ``(B, 3, H, W)``, normalised.

    Raises:
        ValueError: If the policy is unknown, or mean or std are not of three channels. Before a run, if they or the
            channels are not those of the data preprocessor; at the first batch, if its pixels are none of 8 bits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, policy: str, mean: Sequence[float], std: Sequence[float], bgr: bool = False) -> None:
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f'policy must be one of {POLICIES}, but got {policy!r}')
        for name, values in (('mean', mean), ('std', std)):
            if not isinstance(values, Sequence) or len(values) != 3 or (name == 'std' and min(values) < 1):
                raise ValueError(
                    f'{name} must be that of three channels, in units of pixels of 0 to 255 as the data preprocessor '
                    f'has it, but got {values}'
                )
            self.register_buffer(name, torch.tensor(list(values), dtype=torch.float).view(-1, 1, 1), persistent=False)
        self.policy = policy
        self.bgr = bgr
        self._augment = AutoAugment(AutoAugmentPolicy(policy))
        self._checked = False

    @torch.compiler.disable  # which operation it is, is drawn on the CPU
    def forward(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        if images.shape[1] != 3:
            raise ValueError(f'AutoAugment needs images of three channels, but got {tuple(images.shape)}')
        if generator is not None:  # torchvision's takes none
            seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                return self(images)
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        pixels = images.detach().float() * std + mean
        self._check(pixels)
        pixels = pixels.round_().clamp_(0, 255).byte()
        pixels = pixels.flip(1) if self.bgr else pixels
        pixels = torch.stack([self._augment(each) for each in pixels]) if len(pixels) else pixels
        pixels = pixels.flip(1) if self.bgr else pixels
        augmented = ((pixels.float() - mean) / std).to(images.dtype)
        return augmented.contiguous(memory_format=memory_format(images))

    def _check(self, pixels: Tensor) -> None:
        """Refuse numbers that are no pixels, once: a GPU has to be waited for."""
        if self._checked or not pixels.numel():
            return
        least, most = (value.item() for value in pixels.aminmax())
        if not (least > -1 and most < 256):  # half a pixel's rounding, and that of half precision
            raise ValueError(
                'mean and std must be those that the images were normalised by, as the data preprocessor has them: by '
                f'{self.mean.flatten().tolist()} and {self.std.flatten().tolist()} their pixels would be of '
                f'{least:.1f} to {most:.1f}, and not of 0 to 255'
            )
        self._checked = True

    def extra_repr(self) -> str:
        mean, std = (values.flatten().tolist() for values in (self.mean, self.std))
        return f'policy={self.policy!r}, mean={mean}, std={std}, bgr={self.bgr}'
