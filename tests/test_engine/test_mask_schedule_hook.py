# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import uuid

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import MAEPretrainHead, VisionTransformerClsHead
from mmpretrain.models.necks import MAEPretrainDecoder
from mmpretrain.models.selfsup import MAE
from mmpretrain.structures import DataSample
from torch import nn

from mmmaskany.engine.hooks import MaskScheduleHook
from mmmaskany.engine.hooks.mask_schedule_hook import find_pattern
from mmmaskany.masking import GridPattern, Masking, MixturePattern, PatchPattern, RandomPattern
from mmmaskany.models.classifiers import MaskSubClassifier
from mmmaskany.models.selfsup import PatternMAEViT
from mmmaskany.models.sub_masking import DropTokens, FillCells


class Toy(BaseModel):
    """Learns one number from what its masking leaves visible, and remembers how much that was."""

    def __init__(self, pattern, reuse=True):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.masking = pattern and Masking(pattern, reuse=reuse)
        self.weight = nn.Parameter(torch.zeros(()))
        self.others = [RandomPattern(ratio=0.5, cell=1, base=1)]
        self.shares, self.ratios = [], []

    def forward(self, inputs, mode='loss'):
        visible, reused, draw = self.backbone.masking(inputs)
        assert reused.shape[-2:] == (8, 8)
        self.shares.append(self.backbone.masking.pattern.share)
        self.ratios.append(draw.ratio.unique().tolist())
        return dict(loss=(visible.mean() - self.weight).square())


def train(folder, model, hook, side=16, max_epochs=4, iters=None, resume=False, **inputs):
    """Train 3 steps an epoch, on batches of 2 images."""
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=[dict(inputs=torch.ones(3, side, side), **inputs) for _ in range(6)],
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=iters) if iters else dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1)
        ),
        custom_hooks=[dict(type='mmmaskany.SeedHook'), *(hook if isinstance(hook, list) else [hook])],
        experiment_name=uuid.uuid4().hex,
        resume=resume,
        randomness=dict(seed=0),
    )
    runner.train()
    return model


def mixture():
    return MixturePattern([PatchPattern(scale=0.5, base=1), GridPattern(scale=0.5, cell=2, base=1)], [0.5, 0.5])


def test_scale_of_a_mixture_goes_up_by_epochs_and_is_logged(tmp_path):
    hook = MaskScheduleHook(scale=(0.25, 0.75))
    model = train(tmp_path, Toy(mixture()), hook, max_epochs=3)
    assert model.shares == pytest.approx([0.25] * 3 + [0.5] * 3 + [0.75] * 3)
    # What is masked follows: s * s of the image, whichever pattern was drawn.
    assert model.ratios[::3] == [[0.0625], [0.25], [0.5625]]
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line).get('mask_scale') for line in log.read_text().splitlines()]
    assert logged == pytest.approx(model.shares)


def test_ratio_goes_down_by_iterations(tmp_path):
    hook = MaskScheduleHook(ratio=(0.75, 0.25), curve='cosine', by_epoch=False)
    model = train(tmp_path, Toy(RandomPattern(ratio=0.5, cell=1, base=1), reuse=False), hook, iters=5)
    half = 0.25 * 0.5**0.5
    assert model.shares == pytest.approx([0.75, 0.5 + half, 0.5, 0.5 - half, 0.25])
    assert model.ratios == [[round(256 * share) / 256] for share in model.shares]


def watch_samples(model):
    """Keep the share of each batch that is masked, and the probabilities of its step."""
    seen = []

    def keep(masking, args, views):
        seen.append((views.draw.masked.float().mean().item(), list(masking.pattern.probs)))

    model.backbone.masking.register_forward_hook(keep)
    return seen


def test_masks_end_before_training_does(tmp_path):
    model = Toy(mixture())
    seen = watch_samples(model)
    train(tmp_path, model, MaskScheduleHook(samples=(0, 0), begin=2), max_epochs=4)
    # As the model was built, every sample; then none.
    assert seen == [(1, [0.5, 0.5])] * 6 + [(0, [0, 0])] * 6
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line).get('mask_samples') for line in log.read_text().splitlines()]
    assert logged == [None] * 6 + [0] * 6


def test_masks_that_stop_early_by_degrees_keep_their_proportions(tmp_path):
    patterns = [PatchPattern(scale=0.5, base=1), GridPattern(scale=0.5, cell=2, base=1)]
    model = Toy(MixturePattern(patterns, [0.1, 0.3]))
    seen = watch_samples(model)
    train(tmp_path, model, MaskScheduleHook(samples=(1, 0), end=3), max_epochs=5)
    expected = [[0.25, 0.75]] * 3 + [[0.125, 0.375]] * 3 + [[0, 0]] * 9
    assert [probs for _, probs in seen] == [pytest.approx(probs) for probs in expected]
    assert [share for share, _ in seen[:3]] == [1] * 3 and [share for share, _ in seen[6:]] == [0] * 9


def test_probabilities_of_a_mixture_move_and_are_logged(tmp_path):
    model = Toy(mixture())
    seen = watch_samples(model)
    hook = MaskScheduleHook(probs=[[0.2, 0.0], [0.0, 0.6]], by_epoch=False, begin=1, end=4)
    train(tmp_path, model, hook, iters=5)
    expected = [[0.5, 0.5], [0.2, 0], [0.1, 0.3], [0, 0.6], [0, 0.6]]
    assert [probs for _, probs in seen] == [pytest.approx(probs) for probs in expected]
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()][1:]
    assert [[line['mask_prob_patch'], line['mask_prob_grid']] for line in lines] == [
        pytest.approx(probs) for probs in expected[1:]
    ]


def test_two_schedules_of_one_thing_take_turns(tmp_path):
    first = dict(type='mmmaskany.MaskScheduleHook', samples=(0.2, 1), end=2)
    second = dict(type='mmmaskany.MaskScheduleHook', samples=(0.5, 0), begin=3, end=5)
    shares = []
    for resume in (False, True):
        model = Toy(mixture())
        seen = watch_samples(model)
        folder = tmp_path / str(resume)
        if resume:
            folder.mkdir()
            (folder / 'epoch_3.pth').write_bytes((tmp_path / 'False/epoch_3.pth').read_bytes())
            (folder / 'last_checkpoint').write_text(str(folder / 'epoch_3.pth'))
        train(folder, model, [first, second], max_epochs=6, resume=resume)
        shares.append([sum(probs) for _, probs in seen[::3]])
    assert shares[0] == pytest.approx([0.2, 1, 1, 0.5, 0, 0])
    assert shares[1] == shares[0][3:]


@pytest.mark.parametrize('reverse', [False, True])
def test_their_order_in_the_config_does_not_matter(tmp_path, reverse):
    hooks = [
        dict(type='mmmaskany.MaskScheduleHook', samples=(0, 0), end=1),
        dict(
            type='mmmaskany.MaskScheduleHook',
            probs=[[0.1, 0.3], [0.1, 0.3]],
            begin=1,
            masking='backbone.masking.pattern',
        ),
        dict(type='mmmaskany.MaskScheduleHook', samples=(0.8, 0.8), begin=3),
    ]
    model = Toy(mixture())
    seen = watch_samples(model)
    train(tmp_path, model, hooks[::-1] if reverse else hooks, max_epochs=4)
    expected = [[0, 0], [0.1, 0.3], [0.1, 0.3], [0.4, 0.4]]
    assert [probs for _, probs in seen[::3]] == [pytest.approx(probs) for probs in expected]
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()][::3]
    # The log keeps what was set last; only what acts sets.
    assert [line.get('mask_samples') for line in lines] == [0, 0, 0, 0.8]
    assert [line.get('mask_prob_grid') for line in lines] == [None, 0.3, 0.3, 0.3]


def test_two_at_the_same_time_are_refused(tmp_path):
    for args in (dict(probs=[[0.1, 0.3], [0.1, 0.3]]), dict(samples=(0.1, 0.2), begin=1, by_epoch=False)):
        hooks = [dict(type='mmmaskany.MaskScheduleHook', **each) for each in (dict(samples=(0.5, 0.5)), args)]
        with pytest.raises(ValueError, match='take turns, so they must count alike and begin at different times'):
            train(tmp_path, Toy(mixture()), hooks, max_epochs=2)


@pytest.mark.parametrize(
    ('args', 'note'),
    [
        (dict(samples=(0, 0), begin=2), 'begins at 2 of the 2 epochs of this training: it does nothing'),
        (dict(samples=(0.4, 0), end=5), 'ends at 5 of the 2 epochs of this training: it gets to 0.3'),
        (dict(samples=(0.4, 0), end=2), None),
    ],
)
def test_a_training_that_ends_too_early_is_said(tmp_path, args, note):
    train(tmp_path, Toy(mixture()), MaskScheduleHook(**args), max_epochs=2)
    log = ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert ('MaskScheduleHook:' in log) == (note is not None) and (note or '') in log


SCHEDULES = [
    dict(scale=(0.2, 0.8)),
    dict(scale=(0.2, 0.8), begin=1, end=3),
    dict(samples=(0.9, 0), end=3),
    dict(probs=[[0.2, 0.8], [0.5, 0.0]]),
]


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('schedule', SCHEDULES, ids=str)
def test_a_resumed_run_goes_on_with_the_same_values(tmp_path, schedule, by_epoch):
    hook = dict(type='mmmaskany.MaskScheduleHook', by_epoch=by_epoch, **schedule)
    whole = train(tmp_path / 'whole', Toy(mixture()), hook)
    (tmp_path / 'parts').mkdir()
    (tmp_path / 'parts/epoch_2.pth').write_bytes((tmp_path / 'whole/epoch_2.pth').read_bytes())
    (tmp_path / 'parts/last_checkpoint').write_text(str(tmp_path / 'parts/epoch_2.pth'))
    resumed = train(tmp_path / 'parts', Toy(mixture()), hook, resume=True)
    assert len(whole.shares) == 12 and len(resumed.shares) == 6
    assert resumed.shares == whole.shares[6:] and resumed.ratios == whole.ratios[6:]
    assert torch.equal(resumed.weight, whole.weight)


def test_any_pattern_of_the_model_is_found_by_its_name(tmp_path):
    model = Toy(mixture())
    hook = MaskScheduleHook(ratio=(0.1, 0.3), masking='others.0')
    train(tmp_path, model, hook, max_epochs=2)
    assert model.others[0].ratio == pytest.approx(0.3)
    assert model.shares == [0.5] * 6


ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def masksub(sub_masking):
    init_default_scope('mmpretrain')
    return MaskSubClassifier(
        backbone=VisionTransformer(ARCH, img_size=32, patch_size=8),
        head=VisionTransformerClsHead(num_classes=5, in_channels=16),
        sub_masking=sub_masking,
    )


def test_tokens_of_a_sub_branch_become_fewer(tmp_path):
    model = masksub(DropTokens(RandomPattern(ratio=0.5, cell=8, base=8)))
    counts = []
    model.backbone.layers[1].register_forward_pre_hook(lambda layer, args: counts.append(args[0].shape[1]))
    hook = MaskScheduleHook(ratio=(0.25, 0.75), masking='sub_masking')
    train(tmp_path, model, hook, side=32, max_epochs=3, data_samples=DataSample().set_gt_label(1))
    # One class token and 16 patches in the main branch, always; 12, 8, and 4 of them in the sub-branch.
    assert counts == [17, 13] * 3 + [17, 9] * 3 + [17, 5] * 3
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line['mask_ratio'] for line in logged] == pytest.approx([0.25] * 3 + [0.5] * 3 + [0.75] * 3)
    assert all(line.keys() >= {'loss', 'loss_main', 'loss_sub'} for line in logged)


def test_cells_of_a_sub_branch_become_more(tmp_path):
    model = masksub(FillCells(RandomPattern(ratio=0.5, cell=8, base=8)))
    shares = []
    model.backbone.register_forward_pre_hook(lambda host, args: shares.append((args[0] == 0).float().mean().item()))
    hook = MaskScheduleHook(ratio=(0.25, 0.75), masking='sub_masking')
    train(tmp_path, model, hook, side=32, max_epochs=2, data_samples=DataSample().set_gt_label(1))
    assert shares == [0, 0.25] * 3 + [0, 0.75] * 3


def test_a_schedule_that_leaves_no_token_is_refused(tmp_path):
    model = masksub(DropTokens(RandomPattern(ratio=0.5, cell=8, base=8)))
    hook = MaskScheduleHook(ratio=(0.25, 0.99), masking='sub_masking')
    with pytest.raises(ValueError, match=r'ratio=\(0.25, 0.99\) must suit the images .* leave one'):
        train(tmp_path, model, hook, side=32, data_samples=DataSample().set_gt_label(1))


def test_the_pattern_of_a_batch_augmentation_is_found():
    init_default_scope('mmpretrain')
    mix = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.PatchPattern', scale=0.5))
    model = ImageClassifier(
        VisionTransformer(ARCH, img_size=32, patch_size=8),
        data_preprocessor=dict(num_classes=5),
        train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0), mix]),
    )
    pattern = find_pattern(model, 'data_preprocessor.batch_augments.augments.1')
    assert isinstance(pattern, PatchPattern)
    assert pattern is model.data_preprocessor.batch_augments.augments[1].pattern
    with pytest.raises(ValueError, match='must name what masks in the model'):
        find_pattern(model, 'data_preprocessor.batch_augments.augments.0')


def test_tokens_of_mae_become_fewer(tmp_path):
    init_default_scope('mmpretrain')
    model = MAE(
        backbone=PatternMAEViT(RandomPattern(ratio=0.5, cell=8, base=8), arch=ARCH, img_size=32, patch_size=8),
        neck=MAEPretrainDecoder(16, 8, 3, 16, 16, 1, 2, 2),
        head=MAEPretrainHead(loss=dict(type='PixelReconstructionLoss', criterion='L2'), patch_size=8),
    )
    counts = []
    model.backbone.layers[1].register_forward_pre_hook(lambda layer, args: counts.append(args[0].shape[1]))
    hook = MaskScheduleHook(ratio=(0.5, 0.75), masking='backbone')
    train(tmp_path, model, hook, side=32, max_epochs=2, data_samples=DataSample())
    assert counts == [9] * 3 + [5] * 3


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(), 'give just one of scale, ratio, samples, probs, but got none'),
        (dict(scale=(0.1, 0.5), ratio=(0.1, 0.5)), r"give just one of .* but got {'scale': \(0.1, 0.5\), 'ratio'"),
        (dict(scale=(0.1, 0.5), samples=(0.1, 0.5)), 'give just one'),
        (dict(samples=0.5), r'samples must be the first and the last value, both in \[0, 1\], but got 0.5'),
        (dict(samples=(0, 1.1)), r'samples must be .* but got \(0, 1.1\)'),
        (dict(probs=(0.1, 0.2)), r'probs must be the first and the last probabilities, .* but got \(0.1, 0.2\)'),
        (dict(probs=[[0.1, 0.2], [0.1]]), 'of each as many as there are patterns'),
        (dict(probs=[[0.1, 0.2], [0.1, -0.2]]), 'probs must be'),
        (dict(probs=[[0.1, 0.2], [0.5, 0.6]]), 'with a sum of at most 1'),
        (
            dict(samples=(0, 1), begin=-1),
            'begin must be a whole number of at least 0, .* but got begin=-1 and end=None',
        ),
        (dict(samples=(0, 1), begin=3, end=3), 'but got begin=3 and end=3'),
        (dict(samples=(0, 1), begin=0.5), 'but got begin=0.5'),
        (dict(scale=0.5), 'scale must be the first and the last value, both in .0, 1., but got 0.5'),
        (dict(scale=(0.5, 1)), r'but got \(0.5, 1\)'),
        (dict(ratio=(0, 0.5)), r'ratio must be .* but got \(0, 0.5\)'),
        (dict(ratio=(0.1, 0.2, 0.3)), 'the first and the last value'),
        (dict(ratio=(0.1, 0.2), curve='sine'), "'linear' or 'cosine', but got 'sine'"),
    ],
)
def test_refused_when_built(args, message):
    with pytest.raises(ValueError, match=message):
        MaskScheduleHook(**args)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(ratio=(0.1, 0.5)), r'must have a ratio to change, but got MixturePattern.*give `scale` instead'),
        (dict(scale=(0.1, 0.5), masking='others.0'), 'must have a scale to change, but got RandomPattern'),
        (dict(scale=(0.1, 0.5), masking='neck'), r"'neck' is NoneType; in this model \['backbone.masking'\] would do"),
        (dict(scale=(0.1, 0.5), masking='others.7.pattern'), 'must name what masks in the model'),
        (dict(scale=(0.1, 0.5), masking='weight'), "'weight' is Parameter"),
        # 16 px in cells of 2: 8 rows, of which a scale of 0.05 masks none and 0.97 all.
        (dict(scale=(0.05, 0.5)), r'scale=\(0.05, 0.5\) must suit the images .* must mask at least one cell'),
        (dict(scale=(0.5, 0.97)), r'scale=\(0.5, 0.97\) must suit the images'),
        (dict(samples=(0, 1), masking='others.0'), r'must be a mixture to change its samples, but got RandomPattern'),
        (dict(probs=[[0.1], [0.2]]), "one probability for each of the 2 patterns of 'backbone.masking', but got"),
    ],
)
def test_refused_before_the_first_step(tmp_path, args, message):
    model = Toy(mixture())
    with pytest.raises(ValueError, match=message):
        train(tmp_path, model, MaskScheduleHook(**args))
    assert model.shares == []


def test_probabilities_that_are_all_0_have_no_proportions(tmp_path):
    model = Toy(MixturePattern([PatchPattern(scale=0.5, base=1)], [0.0]))
    with pytest.raises(
        ValueError, match="the probabilities of 'backbone.masking', but all of them are 0: give `probs`"
    ):
        train(tmp_path, model, MaskScheduleHook(samples=(0, 0.5)))


@pytest.mark.parametrize(
    'name', ['backbone.masking', 'backbone.masking.pattern', 'backbone.masking.pattern.patterns.0']
)
def test_the_scale_of_aligned_features_stays_a_half(name, tmp_path):
    model = Toy(mixture(), reuse='aligned')
    with pytest.raises(ValueError, match=f"scale of '{name}' must stay 0.5, as reuse='aligned' needs it"):
        train(tmp_path, model, MaskScheduleHook(scale=(0.25, 0.5), masking=name))
    train(tmp_path, model, MaskScheduleHook(samples=(1, 0)), max_epochs=2)


def test_tokens_that_are_dropped_of_every_image_are_so_throughout(tmp_path):
    pattern = MixturePattern([RandomPattern(ratio=0.5, cell=8, base=8)], [1.0])
    model, sample = masksub(DropTokens(pattern)), DataSample().set_gt_label(1)
    message = r'DropTokens drops as many tokens of every image, .* but got samples=\(1, 0\): change the ratio instead'
    for name in ('sub_masking', 'sub_masking.pattern'):
        with pytest.raises(ValueError, match=message):
            hook = MaskScheduleHook(samples=(1, 0), masking=name)
            train(tmp_path, model, hook, side=32, data_samples=sample)
    model = masksub(FillCells(pattern))
    hook = MaskScheduleHook(samples=(1, 0), masking='sub_masking')
    train(tmp_path, model, hook, side=32, max_epochs=2, data_samples=sample)
    assert pattern.probs == [0]


def test_a_model_that_masks_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'backbone.masking' is NoneType; in this model nothing would do"):
        train(tmp_path, Toy(None), MaskScheduleHook(scale=(0.1, 0.5)))


def test_epochs_are_refused_where_iterations_count(tmp_path):
    with pytest.raises(ValueError, match='by_epoch must be False where training counts iterations, but got True'):
        train(tmp_path, Toy(mixture()), MaskScheduleHook(scale=(0.1, 0.5)), iters=4)
