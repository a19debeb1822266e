# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the metafiles, which mim, mmpretrain's hub and `mmmaskany list` read, from the configs and what was measured.

    python tools/misc/metafiles.py                # rewrite configs/*/metafile.yml; reads all configs, about a minute
    python tools/misc/metafiles.py --check        # only say which would change
    python tools/misc/metafiles.py --parameters   # count all parameters anew; builds all models, some minutes

By hand only `configs/*/results.yml` are kept: the collection, and what was measured, by which command and on what. An
entry of a metafile is

    Architecture      the network; of a detector or segmentor its head, then its backbone
    Variant               plain, MaskAny ...; after a comma what else is special about it
    Training Data     the data set that a table is made of; results are on its validation part
    Epochs            or Iterations: how long it is trained
    Batch Size        images a step, of all GPUs: auto_scale_lr.base_batch_size
    Parameters        of the whole model, frozen ones too; counted once, when the config is new
    Results           the metrics of the config's evaluators in %, empty until they were measured

The network, the variant and the data set are read from the name of the config and put into words by the tables below: a
new network, variant or data set is one line there. `model_tables.py` makes the READMEs' tables of the metafiles.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.hub.model_index import write_generated
from mmmaskany.user_errors import run

ROOT = Path(__file__).resolve().parents[2]
HEAD = '# Made by tools/misc/metafiles.py from the configs and from results.yml.\n'
#: The folder to which a config at the top belongs, by its library.
FOLDERS = {'mmpretrain': 'maskany', 'mmdet': 'detection', 'mmseg': 'segmentation'}

# What stands first in these tables stands first in a metafile.
#: Data sets by the last part of a name, without size and share; digits are those of each task.
DATA = {
    'in1k': 'ImageNet-1k',
    'cifar10': 'CIFAR-10',
    'cifar10-folders': 'CIFAR-10 (JPEG)',
    'cifar10-10k': 'CIFAR-10 (10,000 images)',
    'cifar10-2k': 'CIFAR-10 (2,000 images)',
    'cifar100': 'CIFAR-100',
    'tiny-imagenet': 'Tiny-ImageNet',
    'cub': 'CUB-200-2011',
    'coco': 'COCO',
    'voc0712': 'VOC07+12',
    'ade20k': 'ADE20K',
    'mmpretrain digits': 'Digits',
    'mmdet digits': 'Digit scenes (COCO format)',
    'mmseg digits': 'Digit scenes (ADE20K format)',
    'facemask': 'Face masks',
    'stuffthing': 'Things and stuff',
}
#: Detectors and segmentors.
HEADS = {
    'faster-rcnn': 'Faster R-CNN',
    'cascade-mask-rcnn': 'Cascade Mask R-CNN',
    'mask-rcnn': 'Mask R-CNN',
    'retinanet': 'RetinaNet',
    'dino-4scale': 'DINO',
    'upernet': 'UperNet',
    'sem-fpn': 'Semantic FPN',
    'deeplabv3plus': 'DeepLabV3+',
    'mask2former': 'Mask2Former',
}
#: Networks of the libraries.
NETWORKS = {
    **{f'resnet{depth}': f'ResNet-{depth}' for depth in (18, 34, 50, 101, 152)},
    'swin-tiny': 'Swin-T',
    'swin-small': 'Swin-S',
    'swin-base': 'Swin-B',
    'swin': 'Swin',
    'vit-base-p16': 'ViT-B/16',
    'vit-large-p16': 'ViT-L/16',
    'vit-huge-p14': 'ViT-H/14',
    'vit': 'ViT',
    'deit3-small-p16': 'DeiT-III-S/16',
    'deit3-base-p16': 'DeiT-III-B/16',
    'deit3-large-p16': 'DeiT-III-L/16',
    'deit3-huge-p14': 'DeiT-III-H/14',
    'convnext-tiny': 'ConvNeXt-T',
    'efficientnetv2-s': 'EfficientNetV2-S',
}
#: Pre-trainings that are told of a network.
PRETRAINED = {'mae-pre': 'MAE', 'clip-pre': 'CLIP'}
#: Variants of classifiers, by what stands in the name.
CLASSIFICATION_VARIANTS = {
    '-unmasked': 'unmasked',
    '-noreuse': 'masks without reuse',
    '-pipeline': 'MaskAny, data pipeline',
    '-patch': 'MaskAny, patch',
    '-grid': 'MaskAny, grid',
    '-random': 'MaskAny, random cells',
    '-attention': 'MaskSub, guided by attention',
    '-activation': 'MaskSub, guided by class activation',
    '-layers': 'MaskSub, hidden from layers',
}
#: What is special about detectors and segmentors, by what stands in the name.
SPECIALITIES = {
    '-masked': 'masked',
    '-late': 'late fusion',
    '-scratch': 'from scratch',
    '-ignore': 'hidden objects ignored',
    '-objects': 'masked outside of objects',
    '-hidden': 'hidden pixels weighed',
}
#: Variants of configs/masking, by the first word of the name.
MASKING_VARIANTS = {
    'cutout': 'Cutout',
    'gridmask': 'GridMask',
    'random-token': 'random cells, learned token',
    'block-mean': 'blocks, mean',
    **{f'noise-{color}': f'{color} noise' for color in ('red', 'blue', 'green', 'purple')},
    'easy-to-hard': 'MaskAny, easy to hard',
    'early': 'MaskAny, early, then off',
    'random-erasing': 'Random Erasing',
    'cutmix': 'CutMix',
    'maskmix': 'MaskMix',
    'mae-ratio': 'three of four cells',
    'simmim': 'SimMIM',
    'simmim-noise': 'SimMIM, blue noise',
    'mae': 'MAE',
    'mae-noise': 'MAE, green noise',
}
#: Siamese pre-training: the framework, and what is mixed.
SIAMESE = re.compile(r'(?P<un>unmix-)?(?P<mask>mixmask-(?P<discrete>discrete-)?)?(?P<framework>mocov2|simsiam)')
#: How variants begin, those first that others are compared with.
VARIANT_ORDER = ('random weights', 'plain', 'unmasked', 'masks without reuse', 'MoCo', 'SimSiam', 'MixMask', 'Un-Mix')
VARIANT_ORDER += ('MaskAny', 'MaskSub', *MASKING_VARIANTS.values())


#: What is to be done about a name that has something new.
_ADD = 'add it above in metafiles.py, to the table of'


def data_of(name: str, scope: str) -> str:
    """Read the data set from the name of a config.

    Args:
        name (str): The name.
        scope (str): The library: 'mmpretrain', 'mmdet' or 'mmseg'.

    Returns:
        str: One of :data:`DATA`.

    Raises:
        ValueError: If it is not known.
    """
    data = re.sub(r'-(\d+px|\d+x\d+|\d+pct)$', '', name.rpartition('_')[2])
    data = f'{scope} {data}' if data == 'digits' else data
    if data not in DATA:
        raise ValueError(f'the name of a config must end in one of {", ".join(DATA)}, but got {name}: {_ADD} DATA')
    return DATA[data]


def _found(table: dict[str, str], name: str, what: str) -> str:
    """Find the key of a table that stands in a name as a whole part of it, the longest first."""
    for key in sorted(table, key=len, reverse=True):
        if re.search(rf'(?<![a-z\d]){key}(?![a-z\d])', name):
            return key
    raise ValueError(f'the name of a config must have a {what} of {", ".join(table)}, but got {name}: {_ADD} its kind')


def architecture_of(name: str, cfg: Config) -> str:
    """Read the architecture from the name of a config, and from its backbone whether the stem is double.

    Args:
        name (str): The name.
        cfg (Config): The config.

    Returns:
        str: Such as 'MaskAny ResNet-18 (narrow)' or 'Faster R-CNN, ResNet-50'.

    Raises:
        ValueError: If the network or the head is not known.
    """
    plain = re.sub(r'(?<![a-z])r(?=\d)', 'resnet', re.sub(r'mask(?=resnet|swin|vit|efficient)', '', name))
    network = NETWORKS[_found(NETWORKS, plain, 'network')] + ' (narrow)' * ('-narrow' in name)
    kind = str(cfg.model.backbone.type)
    if kind.startswith('mmmaskany.Mask'):
        network = ('MaskAny ' if kind == 'mmmaskany.MaskAny' else 'Mask') + network
    siamese, data = SIAMESE.search(name), name.rpartition('_')[2]
    if cfg.default_scope != 'mmpretrain':
        if siamese:
            network += '-C4' if '-c4' in name else '-FPN'
        return f'{HEADS[_found(HEADS, name, "head")]}, {network}'
    side = re.search(r'(in1k|cifar100|tiny-imagenet)-(\d+)px$', data)
    smaller = re.search(r'_(\d+)px-pre', name)
    share = re.search(r'-(\d+)pct$', data)
    if side:
        network += f', {side[2]} px'
    elif smaller:
        network += f', 224 px from {smaller[1]} px'
    elif '-linear-' in name:
        network += ', linear probe'
    elif share:
        network += f', {share[1]} % of the labels'
    elif siamese and '-pre' in name:
        network += ', fine-tuned'
    return network + ''.join(f' from {title}' for mark, title in PRETRAINED.items() if mark in name)


def variant_of(name: str, folder: str, scope: str) -> str:
    """Read the variant from the name of a config.

    Args:
        name (str): The name.
        folder (str): The folder to which it belongs.
        scope (str): The library.

    Returns:
        str: Such as 'plain' or 'MaskAny, data pipeline'.

    Raises:
        ValueError: If it is of configs/masking, and the variant is not known.
    """
    if '_scratch_' in name:
        return 'random weights'
    if found := SIAMESE.search(name):
        mask = 'MixMask, discrete' if found['discrete'] else 'MixMask' if found['mask'] else ''
        mixed = ' + '.join(filter(None, ['Un-Mix' if found['un'] else '', mask]))
        framework = {'mocov2': 'MoCo v2', 'simsiam': 'SimSiam'}[found['framework']]
        return f'{mixed} on {framework}' if mixed else framework
    if folder == 'masking':
        if (method := name.partition('_')[0]) not in MASKING_VARIANTS:
            raise ValueError(
                f'the name must begin with one of {", ".join(MASKING_VARIANTS)}, but got {name}: '
                f'{_ADD} MASKING_VARIANTS'
            )
        return MASKING_VARIANTS[method]
    marks = CLASSIFICATION_VARIANTS if scope == 'mmpretrain' else SPECIALITIES
    special = [variant for mark, variant in marks.items() if re.search(f'{mark}[_-]', name)]
    if '-autoaugment_' in name:
        return f'{"unmasked" if name.startswith("maskany_") else "plain"}, AutoAugment'
    if scope == 'mmpretrain' and special:
        return special[0]
    methods = dict(MaskAny='maskany|maskresnet|maskswin', MaskSub='masksub')
    found = [method for method, names in methods.items() if re.search(names, name)]
    return ', '.join([' + '.join(found) or 'plain', *special])


def metrics_of(cfg: Config) -> dict[str, list[str]]:
    """Read from the evaluator of a config what its results are.

    Args:
        cfg (Config): The config.

    Returns:
        dict[str, list[str]]: The metrics of each task.
    """
    evaluator = cfg.get('val_evaluator')
    if evaluator is None:  # pre-training
        masked = cfg.model.type in ('SimMIM', 'MAE')
        return {'Masked Image Modeling' if masked else 'Self-Supervised Learning': []}
    if cfg.default_scope == 'mmpretrain':
        return {'Image Classification': ['Top 1 Accuracy', 'Top 5 Accuracy']}
    if cfg.default_scope == 'mmseg':
        return {'Semantic Segmentation': list(evaluator.iou_metrics)}
    if evaluator.type == 'VOCMetric':  # at an overlap of one half
        return {'Object Detection': ['box AP50']}
    tasks = dict(bbox=('Object Detection', ['box AP']), segm=('Instance Segmentation', ['mask AP']))
    metrics = [evaluator.metric] if isinstance(evaluator.metric, str) else evaluator.metric
    return dict(tasks[metric] for metric in metrics)


def count_parameters(cfg: Config) -> int:
    """Build the model of a config and count its parameters."""
    init_default_scope(cfg.default_scope)
    return sum(parameter.numel() for parameter in MODELS.build(copy.deepcopy(cfg.model)).parameters())


def read_measurements(results: dict) -> dict[str, dict]:
    """Sort what was measured by model.

    Args:
        results (dict): A results.yml.

    Returns:
        dict[str, dict]: Of each model ``Training Resources``, ``Training Time``, ``Command``, ``Seeds``, ``Metrics``
        and ``Standard Deviation`` by metric.

    Raises:
        ValueError: If a model is measured twice, or a value is no number, or has a spread where there is one seed.
    """
    found = {}
    for experiment in results.get('Measurements') or []:
        for name, values in experiment['Models'].items():
            if name in found:
                raise ValueError(f'a model must be measured once, but {name} is measured twice')
            entry = {key: experiment[key] for key in ('Training Resources', 'Command', 'Seeds')}
            entry['Training Time'] = experiment.get('Training Time')  # of one run
            entry |= {'Metrics': {}, 'Standard Deviation': {}}
            for metric, value in values.items():
                match = re.fullmatch(r'(\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?', str(value))
                if not match or (match[2] is None) != (entry['Seeds'] == 1):
                    raise ValueError(
                        f'{metric} of {name} must be a number, and of several seeds mean ± standard deviation, but got '
                        f'{value} of {entry["Seeds"]}'
                    )
                entry['Metrics'][metric] = float(match[1])
                if match[2]:
                    entry['Standard Deviation'][metric] = float(match[2])
            found[name] = entry
    return found


def entry_of(path: Path, cfg: Config, folder: str, results: dict, measured: dict | None, parameters: int) -> dict:
    """Make the entry of a config.

    Args:
        path (Path): The config, relative to the repository.
        cfg (Config): What it says.
        folder (str): The folder to which it belongs.
        results (dict): The results.yml of the folder.
        measured (dict | None): What was measured, see :func:`read_measurements`.
        parameters (int): Of the model.

    Returns:
        dict: The entry.

    Raises:
        ValueError: If its name is not understood, or what was measured is no metric of its evaluator.
    """
    name, scope = path.stem, cfg.default_scope
    loops = {'Epochs': cfg.train_cfg.get('max_epochs'), 'Iterations': cfg.train_cfg.get('max_iters')}
    data, values = data_of(name, scope), measured or {}
    model = {
        'Name': name,
        'In Collection': results['Collections'][0]['Name'],
        'Config': path.as_posix(),
        'Metadata': {
            'Architecture': architecture_of(name, cfg),
            'Variant': variant_of(name, folder, scope),
            'Training Data': data,
            **{key: length for key, length in loops.items() if length},
            'Batch Size': cfg.auto_scale_lr.base_batch_size,
            'Parameters': parameters,
            'Training Resources': values.get('Training Resources'),
            **({'Training Time': values['Training Time']} if values.get('Training Time') else {}),
        },
        'Results': [],
    }
    left = set(values.get('Metrics', ()))
    for task, metrics in metrics_of(cfg).items():
        result = {'Task': task, 'Dataset': data}
        result['Metrics'] = {metric: values.get('Metrics', {}).get(metric) for metric in metrics}
        if spread := {key: value for key, value in values.get('Standard Deviation', {}).items() if key in metrics}:
            result['Standard Deviation'] = spread
        if left & set(metrics):
            result |= {'Seeds': values['Seeds'], 'Command': values['Command'].replace('{config}', path.as_posix())}
        left -= set(metrics)
        model['Results'].append(result)
    if left:
        raise ValueError(f'what was measured of {name} must be of {metrics_of(cfg)}, but got {sorted(left)}')
    for key in ('Weights', 'Training Log'):
        if address := (results.get(key) or {}).get(name):
            (model if key == 'Weights' else model['Metadata'])[key] = address
    return model


def order_of(model: dict) -> tuple:
    """Sort entries: by data set, head, network and how long it is trained, then what is compared."""
    name, metadata = model['Name'], model['Metadata']
    *head, network = re.sub(r', (?=\d|linear|fine)', ' | ', metadata['Architecture']).split(', ')
    host = re.sub(r'^Mask(Any )?', '', network)
    pretraining = not any(result['Metrics'] for result in model['Results'])
    hosts = sorted(NETWORKS.values(), key=len, reverse=True)  # 'Swin' is the beginning of 'Swin-T'
    return (
        list(DATA.values()).index(metadata['Training Data']),
        [list(HEADS.values()).index(title) for title in head],
        not pretraining,
        list(NETWORKS.values()).index(next(title for title in hosts if host.startswith(title))),
        host,
        metadata.get('Epochs') or metadata.get('Iterations'),
        network != host,
        network.startswith('MaskAny '),
        next(
            (index for index, variant in enumerate(VARIANT_ORDER) if metadata['Variant'].startswith(variant)),
            len(VARIANT_ORDER),
        ),
        len(metadata['Variant']),
        name,
    )


class Dumper(yaml.SafeDumper):
    """Write as OpenMMLab's metafiles are: lists are indented, what is not known is empty, numbers have two digits."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar('tag:yaml.org,2002:null', ''))
Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar('tag:yaml.org,2002:float', f'{value:.2f}'))


def metafile(folder: str, configs: dict[Path, Config], root: Path = ROOT, count: bool = False) -> str:
    """Make a metafile.

    Args:
        folder (str): The folder below configs.
        configs (dict[Path, Config]): Its configs, see :func:`read_configs`.
        root (Path): The repository.
        count (bool): Whether all parameters are counted anew, or only those of configs that the metafile has not yet.
            Defaults to False.

    Returns:
        str: The text.

    Raises:
        ValueError: If a config is not understood, or a result is of none.
    """
    results = yaml.safe_load((root / 'configs' / folder / 'results.yml').read_text())
    path = root / 'configs' / folder / 'metafile.yml'
    known = yaml.safe_load(path.read_text())['Models'] if path.is_file() and not count else []
    counts = {model['Name']: model['Metadata']['Parameters'] for model in known}
    measured = read_measurements(results)
    names = {path.stem for path in configs}
    for key, models in (
        ('Measurements', measured),
        *((key, results.get(key) or {}) for key in ('Weights', 'Training Log')),
    ):
        if unknown := sorted(models.keys() - names):
            raise ValueError(f'{key} of configs/{folder}/results.yml must be of its configs, but got {unknown}')
    models = [
        entry_of(path, cfg, folder, results, measured.get(path.stem), counts.get(path.stem) or count_parameters(cfg))
        for path, cfg in configs.items()
    ]
    content = {'Collections': results['Collections'], 'Models': sorted(models, key=order_of)}
    text = yaml.dump(content, Dumper=Dumper, sort_keys=False, width=10**6, allow_unicode=True)
    return HEAD + text.replace('\nModels:', '\n\nModels:')


def read_configs(root: Path = ROOT, read: Callable[[Path], Config] = Config.fromfile) -> dict[str, dict[Path, Config]]:
    """Read the shipped configs.

    Args:
        root (Path): The repository.
        read (Callable): Reads one.

    Returns:
        dict[str, dict[Path, Config]]: Those of each folder that has a results.yml, and those at the top that belong to
        it, by their paths in the repository.
    """
    found = {path.parent.name: {} for path in sorted((root / 'configs').glob('*/results.yml'))}
    for path in sorted((root / 'configs').glob('*.py')) + sorted((root / 'configs').glob('*/*.py')):
        if path.parent.name != '_base_':
            cfg = read(path)
            folder = FOLDERS[cfg.default_scope] if path.parent == root / 'configs' else path.parent.name
            found[folder][path.relative_to(root)] = cfg
    return found


def main(argv: list[str] | None = None) -> int:
    """Write or check the metafiles and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 where a metafile is out of date')
    parser.add_argument('--parameters', action='store_true', help='count the parameters of all models anew')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository (default: that of this file)')
    args = parser.parse_args(argv)
    texts = {
        args.root / 'configs' / folder / 'metafile.yml': metafile(folder, configs, args.root, args.parameters)
        for folder, configs in read_configs(args.root).items()
    }
    return write_generated(texts, args.check, args.root)


if __name__ == '__main__':
    sys.exit(run(main))
