# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from collections.abc import Sequence

from torch import Tensor, nn

from mmmaskany.registry import MODELS


@MODELS.register_module()
class TokenPooling(nn.Module):
    """Pool the tokens of a transformer, or a map whose channels are last, as timm's networks return them.

    mmpretrain's ``GlobalAveragePooling`` takes maps ``(B, C, h, w)`` alone.

    Args:
        extra_tokens (int): How many tokens stand before those of the patches. With a class token, the first of them is
            taken; without any, the mean of all. Defaults to 0.

    Shape:
        - Input: a sequence of levels, of which the last is ``(B, N, C)`` or ``(B, h, w, C)``.
        - Output: a tuple of one, ``(B, C)``.

    Raises:
        ValueError: If ``extra_tokens`` is negative, or the last level has another shape.
    """

    def __init__(self, extra_tokens: int = 0) -> None:
        super().__init__()
        if extra_tokens < 0:
            raise ValueError(f'extra_tokens must be at least 0, but got {extra_tokens}')
        self.extra_tokens = extra_tokens

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor]:
        """Pool the last level."""
        last = levels[-1]
        if last.ndim not in (3, 4):
            raise ValueError(f'the last level must be (B, N, C) or (B, h, w, C), but got {tuple(last.shape)}')
        return (last[:, 0] if self.extra_tokens else last.flatten(1, -2).mean(1),)
