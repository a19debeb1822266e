# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What pools the tokens of timm's transformers, compared with what timm's own networks give their classifiers."""

import pytest
import torch
from mmengine.registry import MODELS

from mmmaskany.experiments.networks import find_network
from mmmaskany.models.necks import TokenPooling

timm = pytest.importorskip('timm')


def test_by_hand():
    tokens = torch.arange(12.0).view(1, 3, 4)
    assert TokenPooling(extra_tokens=1)([torch.zeros(0), tokens])[0].tolist() == [[0, 1, 2, 3]]
    assert TokenPooling()((tokens,))[0].tolist() == [[4, 5, 6, 7]]
    assert TokenPooling()((tokens.view(1, 3, 1, 4),))[0].tolist() == [[4, 5, 6, 7]]
    assert isinstance(TokenPooling()((tokens,)), tuple)
    assert isinstance(MODELS.build(dict(type='mmmaskany.TokenPooling', extra_tokens=2)), TokenPooling)


def test_what_it_does_not_take():
    with pytest.raises(ValueError, match='extra_tokens must be at least 0, but got -1'):
        TokenPooling(-1)
    with pytest.raises(ValueError, match=r'the last level must be \(B, N, C\) or \(B, h, w, C\), but got \(2, 3\)'):
        TokenPooling()([torch.zeros(2, 3)])


@pytest.mark.parametrize(
    ('name', 'size', 'extra_tokens'),
    [
        ('vit_tiny_patch16_224', 224, 1),
        ('swin_tiny_patch4_window7_224', 224, 0),
        ('mixer_s32_224', 224, 0),
    ],
)
def test_finetune_chooses_it_and_it_gives_what_timm_pools(name, size, extra_tokens):
    found = find_network(f'timm/{name}', None, dense=False, size=size)
    assert found.neck == dict(type='mmmaskany.TokenPooling', extra_tokens=extra_tokens)
    host = MODELS.build(dict(found.backbone))
    host.eval()
    network = timm.create_model(name).eval()
    network.load_state_dict(host.timm_model.state_dict(), strict=False)
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        (pooled,) = MODELS.build(found.neck)(host(image))
        expected = network.forward_head(network.forward_features(image), pre_logits=True)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
    assert found.channels == [pooled.shape[1]]


def test_distilled_networks_return_what_is_pooled_already():
    found = find_network('timm/deit_tiny_distilled_patch16_224', None, dense=False, size=224)
    assert found.neck is None and found.channels == [192]
