# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Every detection and segmentation config, shrunk, takes its classifier's checkpoint, trains and predicts.

The two promised entries do so at their full size too.
"""

import copy
import functools
import math
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.models.backbones import ConvNeXt, VisionTransformer
from shipped import ROOT, load, shrink, stems

ENTRIES = [ROOT / 'configs/maskany_r50_mask-rcnn_coco.py', ROOT / 'configs/maskany_r50_upernet_ade20k.py']
CONFIGS = [*ENTRIES, *sorted((ROOT / 'configs').glob('detection/*.py')), *sorted((ROOT / 'configs').glob('seg*/*.py'))]
CONFIGS += sorted((ROOT / 'configs').glob('mixmask/mask-rcnn*_fpn_*.py'))
DILATED = [path for path in CONFIGS if 'mask' in path.stem and '-d8_' in path.stem]
ids = dict(ids=lambda path: path.stem)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """Make the checkpoint of the classifier that a config starts from: ``pretrained(checkpoint, factor)``.

    Returns the path, and the tensors of the backbone.
    """

    @functools.cache
    def make(checkpoint: str, factor: int):
        run = Path(checkpoint).parent.name
        (source,) = (ROOT / 'configs').rglob(f'{run}.py')
        model, shrunk = shrink(load(source).model.to_dict(), full=factor == 1)
        assert shrunk == factor
        init_default_scope('mmpretrain')
        torch.manual_seed(0)
        backbone = MODELS.build(model['backbone'])
        backbone.init_weights()
        for module in backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after training: no layer is 0 or the identity
                torch.nn.init.uniform_(module.weight, 0.2, 0.6)
                torch.nn.init.uniform_(module.bias, -0.1, 0.1)
                torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        state = backbone.state_dict()
        path = tmp_path_factory.mktemp(run) / 'epoch_1.pth'
        whole = {f'backbone.{key}': value for key, value in state.items()}
        torch.save(dict(state_dict={**whole, 'head.fc.bias': torch.zeros(10)}, meta={}), path)
        return path, state

    return make


def build(path: Path, pretrained, full: bool = False):
    """Build the model of a config and start it from a checkpoint, as the Runner does.

    Returns it, and the tensors of the backbone that it must have been filled with, None from scratch.
    """
    cfg = load(path)
    for library in (cfg.default_scope, *('mmdet.models', 'mmseg.models')):
        if library in (cfg.default_scope, *cfg.custom_imports.imports):  # the other library's parts
            pytest.importorskip(library)
    model, factor = shrink(cfg.model.to_dict(), full)
    init_cfg, state = model['backbone'].get('init_cfg'), None
    if init_cfg:
        init_cfg['checkpoint'], state = pretrained(init_cfg['checkpoint'], factor)
        init_cfg['checkpoint'] = str(init_cfg['checkpoint'])
    if cfg.default_scope == 'mmdet':
        for part in (model['test_cfg'], model['test_cfg'].get('rcnn')):
            if part:  # an untrained network finds something too
                part.update(score_thr=0.0, max_per_img=5)
    elif not full:
        model['data_preprocessor']['size'] = (96, 128)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*DeprecationWarning: pretrained is')
        model = MODELS.build(Config(model))
    model.init_weights()
    return model, state


# ---------------------------------------------------------------------- samples


def detection_batch(model):
    """Two images of different sizes, half the size of the originals, with two objects each."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    samples = []
    for height, width in ((96, 128), (80, 112)):
        sample = DetDataSample(
            metainfo=dict(
                img_id=0, img_shape=(height, width), ori_shape=(2 * height, 2 * width), scale_factor=(0.5, 0.5)
            )
        )
        masks = np.zeros((2, height, width), dtype=np.uint8)
        masks[0, 10:60, 20:70] = masks[1, 30:70, 50:100] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[20.0, 10.0, 70.0, 60.0], [50.0, 30.0, 100.0, 70.0]]),
            labels=torch.tensor([0, 2]),
            masks=BitmapMasks(masks, height, width),
        )
        samples.append(sample)
    return samples


def segmentation_batch(model):
    """Two images of different sizes, half the size of the originals, with two regions each and the rest ignored."""
    from mmseg.structures import SegDataSample

    samples = []
    for height, width in ((96, 112), (80, 128)):
        sample = SegDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(2 * height, 2 * width), pad_shape=(height, width))
        )
        labels = torch.full((1, height, width), 255)
        labels[:, :50] = 0
        labels[:, 50:70] = model.decode_head.num_classes - 1
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return samples


def images(samples):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *s.img_shape), dtype=torch.uint8, generator=generator) for s in samples]


# ---------------------------------------------------------------------- every config


def check(path: Path, pretrained, full: bool = False) -> None:
    model, state = build(path, pretrained, full)
    backbone = model.backbone
    detects = load(path).default_scope == 'mmdet'

    if state is not None:
        # A classifier has the norm of its last level alone.
        new = ('masking.', 'level_fusions.', 'norm0.', 'norm1.', 'norm2.')
        own = {key: value for key, value in backbone.state_dict().items() if not key.startswith(new)}
        assert own.keys() == {key for key in state if not key.startswith('masking.')}
        if 'pos_embed' in own and backbone.img_size != (224, 224):
            sides = (14, 14), tuple(side // 16 for side in backbone.img_size)
            expected = backbone.resize_pos_embed(state['pos_embed'], *sides, 'bicubic', num_extra_tokens=1)
            assert torch.equal(own.pop('pos_embed'), expected)
        assert all(torch.equal(value, state[key]) for key, value in own.items())

    model.train()
    # As shipped both stems are frozen where the host freezes its own, and their norms where it trains none.
    both = stems(backbone)
    late = getattr(backbone, 'fuse_at', None) == 'levels'
    assert len(both) == (2 if getattr(backbone, 'fuse_at', None) == 'stem' else 1)
    fixed = set()
    if not getattr(backbone, 'norm_cfg', {}).get('requires_grad', True):
        norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        fixed = {id(parameter) for norm in norms for parameter in norm.parameters()}
    # In ConvNeXt and ViT 0 freezes nothing, in ResNet and Swin it freezes the stem.
    free = backbone.frozen_stages < (1 if isinstance(backbone, (ConvNeXt, VisionTransformer)) else 0)
    for parameter in sum(both, []):
        assert parameter.requires_grad == (free and id(parameter) not in fixed)
    backbone.requires_grad_(True)  # and here all learn, to see where gradients go

    samples = (detection_batch if detects else segmentation_batch)(model)
    data = model.data_preprocessor(dict(inputs=images(samples), data_samples=copy.deepcopy(samples)), True)
    if full and not detects:
        assert data['inputs'].shape == (2, 3, 512, 512)  # padded to the size of the crop
        data['inputs'] = data['inputs'][..., :96, :128]
        for sample in data['data_samples']:
            sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[..., :96, :128])
    assert data['inputs'].shape == (2, 3, 96, 128)
    # Where rates decay layer by layer, and without, the reused stem and the fusion have the rate of the host's stem.
    groups = build_optim_wrapper(model, copy.deepcopy(load(path).optim_wrapper)).param_groups
    rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    added = list(backbone.dual_stem.fusion.parameters()) if len(both) == 2 else []
    (rate,) = {rates[id(parameter)] for parameter in sum(both, added)}
    if 'convnext' in path.stem:
        assert rate == min(rates.values()) < load(path).optim_wrapper.optimizer.lr
    total, _ = model.parse_losses(model(**data, mode='loss'))
    assert math.isfinite(total.item())
    total.backward()
    for stem in both:
        assert all(parameter.grad.any() for parameter in stem if parameter.ndim == 4)
    if late:
        assert len(backbone.level_fusions) == 4
        assert all(fusion.scale.grad.any() for fusion in backbone.level_fusions)

    model.eval()
    with torch.no_grad():
        if detects:
            results = model.test_step(dict(inputs=images(samples), data_samples=copy.deepcopy(samples)))
        else:  # mmseg tests images of different sizes one by one
            results = [
                model.test_step(dict(inputs=[image], data_samples=[copy.deepcopy(sample)]))[0]
                for image, sample in zip(images(samples), samples, strict=True)
            ]
    for result, sample in zip(results, samples, strict=True):
        height, width = sample.ori_shape
        if not detects:
            labels = result.pred_sem_seg.data
            assert labels.shape == (1, height, width)
            assert labels.min() >= 0 and labels.max() < model.decode_head.num_classes
            continue
        found = result.pred_instances
        assert 0 < len(found) <= 5
        assert found.bboxes.min() >= 0 and (found.bboxes.amax(0) <= torch.tensor([width, height] * 2)).all()
        assert found.scores.isfinite().all()
        if model.with_mask:
            assert found.masks.shape == (len(found), height, width)


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_takes_its_checkpoint_trains_and_predicts(path, pretrained):
    check(path, pretrained)


@pytest.mark.parametrize('path', ENTRIES, **ids)
def test_promised_entry_at_full_size(path, pretrained):
    check(path, pretrained, full=True)


# ---------------------------------------------------------------------- output stride and masking


@pytest.mark.parametrize('path', DILATED, **ids)
def test_output_stride_8_keeps_the_features_of_output_stride_32(path, pretrained):
    model, _ = build(path, pretrained)
    cfg = shrink(load(path).model.to_dict())[0]['backbone']
    host = cfg.get('backbone', cfg)
    for key in ('strides', 'dilations'):
        del host[key]
    del cfg['init_cfg']
    plain = MODELS.build(cfg)
    plain.load_state_dict(model.backbone.state_dict())
    model.eval(), plain.eval()
    image = torch.randn(1, 3, 70, 101)
    with torch.no_grad():
        levels = model.backbone(image)
        assert [tuple(level.shape[-2:]) for level in levels] == [(18, 26), (9, 13), (9, 13), (9, 13)]
        for stride, level, expected in zip((1, 1, 2, 4), levels, plain(image), strict=True):
            torch.testing.assert_close(level[..., ::stride, ::stride], expected)


@pytest.mark.parametrize(
    ('name', 'frozen'),
    [
        ('configs/detection/faster-rcnn_maskany-r50_fpn_1x_coco.py', True),
        ('configs/maskany_r50_mask-rcnn_coco.py', True),
        ('configs/segmentation/maskany-r50_upernet_8xb2-160k_ade20k-512x512.py', False),
        ('configs/maskany_r50_upernet_ade20k.py', False),
    ],
)
def test_masking_is_one_option_on_the_command_line(name, frozen):
    train = runpy.run_path(str(ROOT / 'tools/train.py'))
    backbone = 'model.backbone' if 'maskany_r50' in name else 'model.backbone.backbone'
    masking = [
        'model.backbone.masking.pattern.type=mmmaskany.GridPattern',
        'model.backbone.masking.pattern.scale=0.5',
        'model.backbone.masking.pattern.cell=16',
    ]

    def built(*options):
        cfg, _ = train['load_config'](train['parse_args']([str(ROOT / name), '--cfg-options', *masking, *options]))
        pytest.importorskip(cfg.default_scope)
        init_default_scope(cfg.default_scope)
        return MODELS.build(shrink(cfg.model.to_dict())[0]['backbone'])

    # Where the host freezes the stem, the reused one could not learn from the masks.
    with pytest.warns(UserWarning, match='masking is on, but the stem is frozen.*frozen_stages=-1'):
        built(*([] if frozen else [f'{backbone}.frozen_stages=1']))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        network = built(f'{backbone}.frozen_stages=-1')
    image = torch.randn(1, 3, 64, 96)
    network.train()
    visible, reused, _ = network.views(image)
    assert (visible == 0).sum() == image.numel() / 4 and reused.shape == (1, 3, 32, 48)
    # The masked quarter is what the reused image consists of.
    assert torch.equal(reused.flatten().sort().values, image[visible == 0].sort().values)
    network.eval()
    assert network.views(image)[0] is image
