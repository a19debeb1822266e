# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What transformers calls the tensors of timm's networks, in its files and, where it differs, in memory.

Written down from what its version 5.24 saves of small networks of its own; under these names their weights gave the
hosts the same features.
"""

import re

import torch

_EMBEDDINGS = (
    (r'^cls_token', 'embeddings.cls_token'), (r'^pos_embed', 'embeddings.position_embeddings'),
    (r'^dist_token', 'embeddings.distillation_token'),
    (r'^patch_embed\.proj\.', 'embeddings.patch_embeddings.projection.'),
    (r'^norm\.', 'layernorm.'), (r'^fc_norm\.', 'pooler.layernorm.'), (r'^head\.(fc\.)?', 'classifier.'),
)  # fmt: skip
_NORMS = ((r'\.norm1\.', '.layernorm_before.'), (r'\.norm2\.', '.layernorm_after.'))
_MLP = ((r'\.mlp\.fc1\.', '.intermediate.dense.'), (r'\.mlp\.fc2\.', '.output.dense.'))
_BLOCKS = (
    (r'^blocks\.', 'encoder.layer.'), (r'\.attn\.proj\.', '.attention.output.dense.'),
    (r'\.attn\.(qkv|relative)', r'.attention.attention.\1'), (r'\.gamma_', '.lambda_'),
    (r'\.attn\.q_bias', '.attention.attention.query.bias'), (r'\.attn\.v_bias', '.attention.attention.value.bias'),
    (r'\.relative', '.relative_position_bias.relative'), (r'\.ls(.)\.gamma', r'.layer_scale\1.lambda1'),
)  # fmt: skip
_RULES = {
    'vit': (*_NORMS, *_MLP, *_EMBEDDINGS, *_BLOCKS),
    'dinov2': (*_EMBEDDINGS, *_BLOCKS),
    'swin': (
        *_NORMS, *_MLP, *_EMBEDDINGS, (r'^patch_embed\.norm\.', 'embeddings.norm.'),
        (r'^layers\.(\d)\.downsample', lambda match: f'layers.{int(match[1]) - 1}.downsample'),
        (r'^layers\.', 'encoder.layers.'), (r'\.attn\.proj\.', '.attention.output.dense.'),
        (r'\.attn\.', '.attention.self.'),
    ),
    'convnext': (
        (r'^stem\.0\.', 'embeddings.patch_embeddings.'), (r'^stem\.1\.', 'embeddings.layernorm.'),
        (r'^stages\.(\d)\.blocks\.', r'encoder.stages.\1.layers.'), (r'\.gamma$', '.layer_scale_parameter'),
        (r'^stages\.(\d)\.downsample\.', r'encoder.stages.\1.downsampling_layer.'), (r'\.norm\.', '.layernorm.'),
        (r'^head\.layernorm\.', 'layernorm.'), (r'^head\.fc\.', 'classifier.'), (r'\.conv_dw\.', '.dwconv.'),
        (r'\.mlp\.grn\.', '.grn.'), (r'\.mlp\.fc', '.pwconv'),
    ),
    'resnet': (
        (r'^conv1\.', 'embedder.embedder.convolution.'), (r'^bn1\.', 'embedder.embedder.normalization.'),
        (r'^layer(\d)\.(\d)\.', lambda match: f'encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.'),
        (r'\.conv(\d)\.', lambda match: f'.layer.{int(match[1]) - 1}.convolution.'),
        (r'\.bn(\d)\.', lambda match: f'.layer.{int(match[1]) - 1}.normalization.'),
        (r'\.downsample\.0\.', '.shortcut.convolution.'), (r'\.downsample\.1\.', '.shortcut.normalization.'),
        (r'^fc\.', 'classifier.1.'),
    ),
    'vision_model': (
        (r'^blocks\.', 'encoder.layers.'), (r'\.norm(.)\.', r'.layer_norm\1.'), (r'^norm\.', 'post_layernorm.'),
        (r'^norm_pre\.', 'pre_layrnorm.'), (r'^cls_token', 'embeddings.class_embedding'),
        (r'^pos_embed', 'embeddings.position_embedding.weight'), (r'\.attn\.proj\.', '.self_attn.out_proj.'),
        (r'^patch_embed\.proj\.', 'embeddings.patch_embedding.'), (r'\.attn\.', '.self_attn.'),
    ),
    'in_memory': (
        (r'^blocks\.', 'layers.'), *_NORMS, *_EMBEDDINGS, (r'\.attn\.proj\.', '.attention.o_proj.'),
        (r'\.attn\.', '.attention.'),
    ),
}  # fmt: skip


def as_transformers(model):
    """Return what renames a state dict of timm's to that of a model of transformers: 'vit', 'swin' ..."""
    parts = ('q_proj', 'k_proj', 'v_proj') if model in ('vision_model', 'in_memory') else ('query', 'key', 'value')

    def rename(state):
        renamed = {}
        for name, tensor in state.items():
            for timms, theirs in _RULES[model]:
                name = re.sub(timms, theirs, name)
            if '.qkv.' not in name:
                renamed[name] = tensor
                continue
            for part, values in zip(parts, tensor.chunk(3), strict=True):
                renamed[name.replace('.qkv.', f'.{part}.')] = values
        return {name if name.startswith('classifier') else f'{model}.{name}': each for name, each in renamed.items()}

    return rename


def as_clip(state):
    """The image tower, with what else their CLIP has."""
    renamed = as_transformers('vision_model')(state)
    token = 'vision_model.embeddings.class_embedding'
    text = {'text_model.encoder.layers.0.mlp.fc1.weight': torch.ones(4, 4), 'logit_scale': torch.ones(())}
    return {name: tensor for name, tensor in (renamed | text).items() if 'classifier' not in name} | {
        token: renamed[token].flatten()
    }
