# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Packing of the two views of a sample."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.datasets.transforms import PackInputs

from mmmaskany.masking import Views, reused_size
from mmmaskany.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackMaskAnyInputs(PackInputs):
    """Pack the visible and the reused view of a sample.

    Comparing with :class:`mmpretrain.datasets.PackInputs`,

    1. ``inputs`` is :class:`mmmaskany.masking.Views`, which ``default_collate`` and ``pseudo_collate`` make into one
       of batches, for :class:`.MaskAnyDataPreprocessor`.
    2. Whether the sample is ``masked`` is kept in the meta information of the data sample.
    3. A sample without a reused view is packed as by the parent.

    **Required Keys:**

    - img
    - reused_img (optional)

    **Added Keys:**

    - inputs (Views | Tensor): ``visible`` ``(C, H, W)`` and ``reused`` ``(C, ceil(H / 2), ceil(W / 2))``; the draw,
      which is not of a batch, is empty.
    - data_samples (DataSample): The annotation of the sample.

    Args:
        input_key (str): Key of the visible view. Defaults to 'img'.
        reused_key (str): Key of the reused view. Defaults to 'reused_img'.
        algorithm_keys (Sequence[str]): See the parent. Defaults to ().
        meta_keys (Sequence[str]): See the parent. Defaults to the parent's and 'masked'.

    Raises:
        ValueError: If the reused view is not half the visible one, each side rounded up.
    """

    DEFAULT_META_KEYS = (*PackInputs.DEFAULT_META_KEYS, 'masked')

    def __init__(
        self,
        input_key: str = 'img',
        reused_key: str = 'reused_img',
        algorithm_keys: Sequence[str] = (),
        meta_keys: Sequence[str] = DEFAULT_META_KEYS,
    ) -> None:
        super().__init__(input_key, algorithm_keys, meta_keys)
        self.reused_key = reused_key

    def transform(self, results: dict) -> dict:
        """Pack one sample."""
        packed = super().transform(results)
        if self.reused_key not in results:
            return packed
        visible, reused = packed['inputs'], self.format_input(results[self.reused_key])
        size = reused_size(*visible.shape[-2:])
        if tuple(reused.shape[-2:]) != size:
            raise ValueError(
                f'the reused view must be half the visible one, each side rounded up, so {size} for '
                f'{tuple(visible.shape[-2:])}, but got {tuple(reused.shape[-2:])}: put AugmentReused after the last '
                'transform that changes the size'
            )
        packed['inputs'] = Views(visible, reused, draw=())  # `default_collate` takes no None
        return packed

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(input_key='{self.input_key}', reused_key='{self.reused_key}', "
            f'algorithm_keys={self.algorithm_keys}, meta_keys={self.meta_keys})'
        )
