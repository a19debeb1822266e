# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a user may write with MMEngine alone: no tool of ours, and nothing of mmmaskany is imported by it.

    python plain_script.py CASES

CASES is a JSON file: a list of dict(place, way, file, folder). Each case runs in a process of its own, forked from one
that knows MMEngine and mmpretrain only, and says in ``folder/answer.json`` how it ended. ``place`` is where the config
has its one type of ours, ``way`` how it comes to the file.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import mmpretrain.datasets
import mmpretrain.models  # noqa: F401 (what our parts import of it is there before the cases fork)
import torch
import torchvision  # noqa: F401
from mmengine import runner as mmengine_runner
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn


@MODELS.register_module()
class Tiny(BaseModel):
    def __init__(self, part=None, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.layer = nn.Linear(2, 1)
        self.part = MODELS.build(part) if part else None

    def forward(self, inputs, mode='tensor'):
        outputs = self.layer(torch.stack(inputs))
        return dict(loss=outputs.mean()) if mode == 'loss' else [dict(score=output.item()) for output in outputs]


@DATASETS.register_module()
class Points:
    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return dict(inputs=torch.full((2,), float(index)))


@METRICS.register_module()
class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [sample['score'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(score=sum(results))


class Inferencer(BaseInferencer):
    def _init_pipeline(self, cfg):
        return None

    def visualize(self, *args, **kwargs):
        pass

    def postprocess(self, *args, **kwargs):
        pass


#: The one type of ours, by its place in the config.
PLACES = dict(
    model=dict(model=dict(part=dict(type='mmmaskany.AddFusion', channels=2))),
    dataset=dict(
        train_dataloader=dict(dataset=dict(type='mmmaskany.SeededDataset', dataset=dict(type='Points'), _delete_=True))
    ),
    sampler=dict(
        train_dataloader=dict(sampler=dict(type='mmmaskany.SeededSampler', sampler=dict(type='DefaultSampler')))
    ),
    hook=dict(custom_hooks=[dict(type='mmmaskany.SeedHook')]),
    imported=dict(
        custom_imports=dict(imports=['mmmaskany'], allow_failed_imports=False),
        custom_hooks=[dict(type='mmmaskany.SeedHook')],
    ),
)


def run(place, way, file, folder):
    """Train by MMEngine's Runner, and return what its layer has for a weight then."""
    cfg = Config(
        dict(
            default_scope='mmengine',
            work_dir=folder,
            model=dict(type='Tiny'),
            train_dataloader=dict(
                batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler'), dataset=dict(type='Points')
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        )
    )
    cfg.merge_from_dict(PLACES[place])
    if way == 'init_cfg':
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=file)
    elif way == 'load_from':
        cfg.load_from = file
    elif way == 'resume':
        cfg.merge_from_dict(dict(load_from=file, resume=True, train_cfg=dict(max_epochs=2)))
    elif way == 'auto':
        Path(folder, 'last_checkpoint').write_text(file)
        cfg.merge_from_dict(dict(resume=True, train_cfg=dict(max_epochs=2)))
    elif way == 'write':  # with all that writes files, then one more by hand
        cfg.merge_from_dict(
            dict(
                custom_hooks=[*cfg.get('custom_hooks', []), dict(type='EMAHook')],
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook',
                        interval=1,
                        save_best='score',
                        rule='greater',
                        published_keys=['state_dict'],
                    )
                ),
                val_dataloader=dict(
                    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler'), dataset=dict(type='Points')
                ),
                val_cfg=dict(),
                val_evaluator=dict(type='Score'),
            )
        )
    assert not any(name.startswith('mmmaskany') for name in sys.modules)
    if 'custom_imports' in cfg:  # as Config.fromfile does
        import mmmaskany  # noqa: F401
    if way == 'infer':  # reads the checkpoint before it builds the model: there is nothing of ours yet
        del os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD']
        return dict(weight=Inferencer(cfg, file).model.layer.weight.tolist())
    runner = mmengine_runner.Runner.from_cfg(cfg)
    runner.train()
    if way == 'write':
        mmengine_runner.save_checkpoint(dict(state_dict=runner.model.state_dict()), str(Path(folder, 'by_hand.pth')))
    return dict(weight=runner.model.layer.weight.tolist(), epoch=runner.epoch)


def main():
    for case in json.loads(Path(sys.argv[1]).read_text()):
        Path(case['folder']).mkdir()
        child = os.fork()
        if child == 0:
            try:
                answer = run(**case)
            except Exception as error:
                traceback.print_exc()
                answer = dict(error=f'{type(error).__name__}: {error}')
            Path(case['folder'], 'answer.json').write_text(json.dumps(answer))
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == '__main__':
    main()
