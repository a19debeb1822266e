# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The paper's four networks as plain functions, written from its layer table, in evaluation mode.

The tensors are named as in the reference code's checkpoints. The first run makes them, later ones use them.
"""

import torch
import torch.nn.functional as F


class Reference:
    """What the four networks are made of; :attr:`state` is the checkpoint.

    Args:
        seed (int): Seed of the random tensors. Defaults to 0.
    """

    def __init__(self, seed=0):
        self.state = {}
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, visible, reused):
        raise NotImplementedError

    def tensor(self, name, *shape, mean=0.0, std=0.5):
        if name not in self.state:
            self.state[name] = mean + std * torch.rand(shape, generator=self.generator).sub(0.5)
        return self.state[name]

    def conv(self, x, name, channels, kernel, stride=1, padding=None, groups=1, bias=False):
        shape = (channels, x.shape[1] // groups, kernel, kernel)
        weight = self.tensor(f'{name}.weight', *shape, std=4 / (shape[1] * kernel * kernel) ** 0.5)
        bias = self.tensor(f'{name}.bias', channels) if bias else None
        return F.conv2d(x, weight, bias, stride, kernel // 2 if padding is None else padding, groups=groups)

    def batch_norm(self, x, name, eps=1e-5):
        weight, bias, mean, var = (
            self.tensor(f'{name}.{key}', x.shape[1], mean=float(key in ('weight', 'running_var')))
            for key in ('weight', 'bias', 'running_mean', 'running_var')
        )
        self.state[f'{name}.num_batches_tracked'] = torch.tensor(7)
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    def linear(self, x, name, channels, bias=True):
        weight = self.tensor(f'{name}.weight', channels, x.shape[-1], std=4 / x.shape[-1] ** 0.5)
        return F.linear(x, weight, self.tensor(f'{name}.bias', channels) if bias else None)

    def layer_norm(self, x, name, eps=1e-5):
        shape = x.shape[-1:]
        weight, bias = self.tensor(f'{name}.weight', *shape, mean=1.0), self.tensor(f'{name}.bias', *shape)
        return F.layer_norm(x, shape, weight, bias, eps)

    def mlp(self, x, name, channels):
        return self.linear(F.gelu(self.linear(x, f'{name}.fc1', channels)), f'{name}.fc2', x.shape[-1])


class MaskResNet(Reference):
    """Two stems, added, then residual blocks with SiLU; the bottleneck has its stride in the 3 x 3."""

    def __init__(self, blocks, bottleneck, stem=8, width=8, classes=5):
        super().__init__()
        self.blocks, self.bottleneck, self.stem, self.width, self.classes = blocks, bottleneck, stem, width, classes

    def conv_bn(self, x, conv, norm, channels, kernel, stride=1, bias=False):
        return self.batch_norm(self.conv(x, conv, channels, kernel, stride, bias=bias), norm)

    def __call__(self, visible, reused):
        x = F.silu(self.conv_bn(visible, 'conv1_x1', 'bn1_x1', self.stem, 7, stride=2))
        x = F.silu(self.conv_bn(x, 'downconv_x1', 'bn1_downconv_x1', self.stem, 3, stride=2, bias=True))
        x = x + F.silu(self.conv_bn(reused, 'conv1_x2', 'bn1_x2', self.stem, 7, stride=2))
        for stage, count in enumerate(self.blocks):
            width = self.width * 2**stage
            for index in range(count):
                name, stride = f'layer{stage + 1}.{index}', 2 if stage and not index else 1
                kernels = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
                y = x
                for k, layer in enumerate(kernels if self.bottleneck else [(width, 3, stride), (width, 3, 1)], 1):
                    y = self.conv_bn(F.silu(y) if k > 1 else y, f'{name}.conv{k}', f'{name}.bn{k}', *layer)
                if x.shape != y.shape:
                    x = self.conv_bn(x, f'{name}.downsample.0', f'{name}.downsample.1', y.shape[1], 1, stride)
                x = F.silu(x + y)
        return self.linear(x.mean((2, 3)), 'fc', self.classes)


class MaskViT(Reference):
    """Patches of both images, added or side by side, one class token, one position embedding, layers.

    Networks of ImageNet-21k have a layer and tanh before the last one, of ``pre_logits`` channels.
    """

    def __init__(
        self, width=16, layers=2, heads=2, hidden=32, patch=16, side=4, fusion='add', classes=5, pre_logits=None
    ):
        super().__init__()
        self.width, self.layers, self.heads, self.hidden, self.patch = width, layers, heads, hidden, patch
        self.side, self.fusion, self.classes, self.pre_logits = side, fusion, classes, pre_logits

    def __call__(self, visible, reused):
        channels = self.width if self.fusion == 'add' else self.width // 2
        x, y = (
            self.conv(image, f'{name}.proj', channels, size, size, padding=0, bias=True).flatten(2).mT
            for image, name, size in ((visible, 'patch_embed', self.patch), (reused, 'patch_embed2', self.patch // 2))
        )
        x = x + y if self.fusion == 'add' else torch.cat([x, y], dim=-1)
        x = torch.cat([self.tensor('cls_token', 1, 1, self.width).expand(len(x), -1, -1), x], dim=1)
        x = x + self.tensor('pos_embed', 1, 1 + self.side**2, self.width)
        for index in range(self.layers):
            x = x + self.attention(self.layer_norm(x, f'blocks.{index}.norm1', 1e-6), f'blocks.{index}.attn')
            x = x + self.mlp(self.layer_norm(x, f'blocks.{index}.norm2', 1e-6), f'blocks.{index}.mlp', self.hidden)
        x = self.layer_norm(x, 'norm', 1e-6)[:, 0]
        if self.pre_logits:
            x = self.linear(x, 'pre_logits.fc', self.pre_logits).tanh()
        return self.linear(x, 'head', self.classes)

    def attention(self, x, name):
        q, k, v = (
            self.linear(x, f'{name}.qkv', 3 * self.width).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.linear((weights @ v).transpose(1, 2).flatten(2), f'{name}.proj', self.width)


class MaskSwin(Reference):
    """Patches of both images with a norm each, side by side or added, then stages of windows, shifted in turn."""

    def __init__(self, width=16, depths=(1, 2), heads=(1, 2), window=4, patch=4, fusion='concat', classes=5):
        super().__init__()
        self.width, self.depths, self.heads, self.window, self.patch = width, depths, heads, window, patch
        self.fusion, self.classes = fusion, classes

    def __call__(self, visible, reused):
        channels = self.width if self.fusion == 'add' else self.width // 2
        x, y = (
            self.layer_norm(
                self.conv(image, f'{name}.proj', channels, size, size, padding=0, bias=True).permute(0, 2, 3, 1),
                f'{name}.norm',
            )
            for image, name, size in ((visible, 'patch_embed', self.patch), (reused, 'patch_embed2', self.patch // 2))
        )
        x = x + y if self.fusion == 'add' else torch.cat([x, y], dim=-1)
        for stage, depth in enumerate(self.depths):
            for index in range(depth):
                name = f'layers.{stage}.blocks.{index}'
                x = x + self.windows(self.layer_norm(x, f'{name}.norm1'), name, self.heads[stage], shift=index % 2)
                x = x + self.mlp(self.layer_norm(x, f'{name}.norm2'), f'{name}.mlp', 4 * x.shape[-1])
            if stage < len(self.depths) - 1:
                # The pixels of a square one after the other: down, then right.
                x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
                x = self.layer_norm(x, f'layers.{stage}.downsample.norm')
                x = self.linear(x, f'layers.{stage}.downsample.reduction', x.shape[-1] // 2, bias=False)
        return self.linear(self.layer_norm(x, 'norm').mean((1, 2)), 'head', self.classes)

    def windows(self, x, name, heads, shift):
        """Attention of every pixel to those of its own window that were its neighbours before the shift."""
        _, height, width, channels = x.shape
        size = min(self.window, height, width)
        shift = size // 2 if shift else 0  # even where the map is one window
        # Two pixels belong together where the shift carried both, or neither, around the border.
        around = torch.zeros(height, width, dtype=torch.long)
        around[height - shift :] += 1
        around[:, width - shift :] += 2

        def split(maps):  # (..., height, width, C) to (..., windows, pixels of one, C)
            maps = maps.unflatten(-3, (-1, size)).unflatten(-2, (-1, size)).transpose(-4, -3)
            return maps.flatten(-3, -2).flatten(-4, -3)

        around = split(around[..., None])[..., 0]
        apart = around[:, :, None] != around[:, None, :]
        x = split(x.roll((-shift, -shift), (1, 2)))
        q, k, v = (
            self.linear(x, f'{name}.attn.qkv', 3 * channels).unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5 + self.bias(f'{name}.attn', size, heads)
        scores = scores.masked_fill(apart[:, None], -1e4)
        if shift:
            self.state[f'{name}.attn_mask'] = -100.0 * apart
        x = (scores.softmax(-1) @ v).transpose(2, 3).flatten(3)
        x = self.linear(x, f'{name}.attn.proj', channels)
        x = x.unflatten(1, (height // size, -1)).unflatten(3, (size, size)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2).roll((shift, shift), (1, 2))

    def bias(self, name, size, heads):
        rows, columns = (side.flatten() for side in torch.meshgrid(*[torch.arange(size)] * 2, indexing='ij'))
        down, right = (side[:, None] - side[None] + size - 1 for side in (rows, columns))
        index = self.state[f'{name}.relative_position_index'] = down * (2 * size - 1) + right
        return self.tensor(f'{name}.relative_position_bias_table', (2 * size - 1) ** 2, heads)[index].permute(2, 0, 1)


class MaskEfficientNetV2(Reference):
    """Two stems, added or side by side, then blocks, numbered through, and a convolution before the classifier.

    A row of the stage table is repeats, kernel, stride, expansion, in, out and the ratio of squeeze and excitation.
    """

    def __init__(self, table, head=1280, fusion='add', classes=5):
        super().__init__()
        self.table, self.head, self.fusion, self.classes = table, head, fusion, classes

    def conv_bn(self, x, name, channels, kernel, stride=1, groups=1):
        return self.batch_norm(
            self.conv(x, f'{name}.conv', channels, kernel, stride, groups=groups), f'{name}.bn', 1e-3
        )

    def __call__(self, visible, reused):
        width = self.table[0][4] // (1 if self.fusion == 'add' else 2)
        x = F.silu(self.conv_bn(visible, 'stem1', width, 3, stride=2))
        y = F.silu(self.conv_bn(reused, 'stem2', width, 3))
        x, block = x + y if self.fusion == 'add' else torch.cat([x, y], dim=1), 0
        for repeats, kernel, stride, expansion, _, channels, ratio in self.table:
            for index in range(repeats):
                y = self.block(x, f'blocks.{block}', kernel, 1 if index else stride, expansion, channels, ratio)
                x, block = x + y if x.shape == y.shape else y, block + 1
        x = F.silu(self.conv_bn(x, 'head.project_conv', self.head, 1))
        return self.linear(x.mean((2, 3)), 'head.classifier', self.classes)

    def block(self, x, name, kernel, stride, expansion, channels, ratio):
        middle = expansion * x.shape[1]
        if not ratio and expansion == 1:
            return F.silu(self.conv_bn(x, f'{name}.project_conv', channels, kernel, stride))
        if not ratio:
            y = F.silu(self.conv_bn(x, f'{name}.expand_conv', middle, kernel, stride))
        else:
            y = F.silu(self.conv_bn(x, f'{name}.expand_conv', middle, 1))
            y = F.silu(self.conv_bn(y, f'{name}.dwconv', middle, kernel, stride, groups=middle))
            squeezed = self.conv(
                y.mean((2, 3), keepdim=True), f'{name}.se.conv_reduce', int(x.shape[1] * ratio), 1, bias=True
            )
            y = y * self.conv(F.silu(squeezed), f'{name}.se.conv_expand', middle, 1, bias=True).sigmoid()
        return self.conv_bn(y, f'{name}.project_conv', channels, 1)
