# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Every data set of a config is looked at before a run, by a check of its kind.

Only files on this machine are looked at, once, and by what their configs say.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope

from mmmaskany.datasets.coco_reader import parse
from mmmaskany.registry import name_of

from .classification import check_classification, locate
from .coco import check_coco
from .files import check_present, folder
from .finding import Finding, Survey, first
from .label_maps import check_segmentation
from .panoptic import check_panoptic
from .sizes import loading_of
from .voc import check_voc


def check_data(cfg: Config, splits: Sequence[str], converters: Path | None = None) -> list[Survey]:
    """Check all data sets of some splits.

    Args:
        cfg (Config): The config.
        splits (Sequence[str]): Which data is going to be used: 'train', 'val', 'test'.
        converters (Path, optional): Folder of the scripts that make data sets, for the advice. Defaults to None.

    Returns:
        list[Survey]: What was seen of each data set, in their order.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    surveys = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for key, dataset in _datasets(loader, f'{split}_dataloader') if loader else ():
            maker = _dataset_class(dataset)
            dataset = locate(dataset, maker)
            missing = [path for path in _local_paths(dataset, maker) if not path.exists()]
            if missing:
                text = f'{missing[0].resolve()} must exist, but is missing. {_advice(key, dataset, converters)}'
                surveys.append(Survey(key, [Finding('error', key, text, FileNotFoundError)]))
            elif maker:
                evaluator = cfg.get(f'{split}_evaluator') if split != 'train' else None
                survey = check_classification(key, dataset, maker, cfg)
                surveys.append(survey or check_dataset(key, dataset, maker, _metrics(evaluator)))
                surveys[-1].findings.extend(_check_evaluator(f'{split}_evaluator', evaluator, key, dataset))
    return surveys


def check_dataset(key: str, dataset: ConfigDict, maker: type, metrics: Sequence[str] = ()) -> Survey:
    """Check one data set, by the class that it inherits the reading of its files from.

    Sets of other kinds, and such as do not lie on this machine, are left alone.

    Args:
        key (str): The config key of the dataset, for the findings.
        dataset (ConfigDict): Its config.
        maker (type): Its class.
        metrics (Sequence[str]): What is evaluated on it, such as 'segm'. Defaults to ().

    Returns:
        Survey: What was found.
    """
    if dataset.get('backend_args'):
        return Survey(key, [])
    check = CHECKS.get(getattr(getattr(maker, 'load_data_list', None), '__qualname__', '').partition('.')[0])
    if check is None:
        return Survey(key, [])
    classes, problem = classes_of(dataset, maker)
    return Survey(key, [Finding('error', key, problem)]) if problem else check(key, dataset, maker, classes, metrics)


def classes_of(dataset: ConfigDict, maker: type) -> tuple[Sequence[str] | None, str]:
    """Read the names of the classes of a dataset, as MMEngine does.

    Args:
        dataset (ConfigDict): Its config.
        maker (type): Its class.

    Returns:
        tuple[Sequence[str] | None, str]: The names, None where neither config nor class has any, and what is wrong
            with them.
    """
    classes = (dataset.get('metainfo') or {}).get('classes') or getattr(maker, 'METAINFO', {}).get('classes')
    if isinstance(classes, str):
        if Path(classes).is_file():  # a name on each line
            classes = Path(classes).read_text().splitlines()
        else:
            return None, (
                f'metainfo.classes must be a list of names, or a file that holds one on each line, but got the text '
                f'{classes!r}: write ({classes!r},), with a comma'
            )
    if classes is not None and not isinstance(classes, Sequence):
        return None, f'metainfo.classes must be a list of names, but got {classes!r}'
    twice = sorted({str(name) for name in classes or () if list(classes).count(name) > 1})
    return classes, f'metainfo.classes must hold each name once, but has {first(twice)} more often' if twice else ''


def _check_coco(key: str, dataset: ConfigDict, maker: type, classes: Sequence[str], metrics: Sequence[str]) -> Survey:
    if not dataset.get('ann_file'):
        return Survey(key, [Finding('error', key, 'ann_file must name a file in the format of COCO, but is not given')])
    if 'img' not in (dataset.get('data_prefix') or {}):
        text = "data_prefix must have 'img', the folder of the images ('' where ann_file names them whole), but has not"
        return Survey(key, [Finding('error', key, text)])
    pipeline = dataset.get('pipeline')
    loads_masks = any(isinstance(step, dict) and step.get('with_mask') for step in pipeline or ())
    path = folder(dataset, dataset['ann_file'])
    panoptic = maker.COCOAPI.__name__ == 'COCOPanoptic'
    survey = check_coco(
        key,
        path,
        folder(dataset, dataset['data_prefix']['img']),
        classes,
        test_mode=bool(dataset.get('test_mode')),
        masks=loads_masks or 'segm' in metrics,
        panoptic=panoptic,
        lvis=_LVIS.get(maker.load_data_list.__qualname__.partition('.')[0]),
        sort_categories=maker.__name__ == 'Objects365V1Dataset',
        filter_cfg=dataset.get('filter_cfg'),
        loading=loading_of(pipeline),
    )
    maps = dataset['data_prefix'].get('seg')
    if maps and not any(finding.level == 'error' for finding in survey.findings):
        names = [image['file_name'].replace('.jpg', '.png') for image in parse(path, keep=True)['images']]  # as mmdet
        survey.findings.extend(check_present(key, [folder(dataset, maps) / name for name in names]))
        if panoptic and not any(finding.level == 'error' for finding in survey.findings):
            survey.findings.extend(check_panoptic(key, parse(path, keep=True), folder(dataset, maps)))
    return survey


def _check_maps(key: str, dataset: ConfigDict, maker: type, classes: Sequence[str], _: Sequence[str]) -> Survey:
    return check_segmentation(key, dataset, maker) if classes else Survey(key, [])


#: The versions of LVIS by the class that lists their samples.
_LVIS = {'LVISV05Dataset': 'v0.5', 'LVISV1Dataset': 'v1'}
#: The check of each kind of set, by the class that lists its samples: takes key, config, class, names of the classes
#: (or None) and metrics, and returns a Survey.
CHECKS: dict[str, Callable[..., Survey]] = {
    'CocoDataset': _check_coco,
    **dict.fromkeys(_LVIS, _check_coco),
    'Objects365V1Dataset': _check_coco,
    'Objects365V2Dataset': _check_coco,
    'XMLDataset': check_voc,
    'BaseSegDataset': _check_maps,
    'ADE20KSegDataset': _check_maps,
}


def _nodes(evaluator: object) -> list[dict]:
    """List the metrics of an evaluator's config."""
    nodes = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    return [node for node in nodes if isinstance(node, dict)]


def _metrics(evaluator: object) -> list[str]:
    """List the metrics of COCO that an evaluator's config asks for."""
    found = []
    for node in _nodes(evaluator):
        metric = node.get('metric') or ()
        found += [metric] if isinstance(metric, str) else metric
    return found


def _check_evaluator(key: str, evaluator: object, data: str, dataset: ConfigDict) -> Iterator[Finding]:
    """Compare the annotations that a metric of COCO reads with those of its data: image ids and categories.

    Args:
        key (str): The config key of the evaluator.
        evaluator (dict | list[dict]): Its config.
        data (str): The config key of the data.
        dataset (ConfigDict): The config of the data.

    Yields:
        Finding: An error where results would be compared with those of other images or classes.
    """
    for node in _nodes(evaluator):
        path = node.get('ann_file')
        if not isinstance(path, str) or '://' in path or node.get('backend_args') or dataset.get('backend_args'):
            continue
        if not name_of(node.get('type')).startswith(('Coco', 'LVIS')) or not dataset.get('ann_file'):
            continue
        ours, theirs = folder(dataset, dataset.ann_file), Path(path).expanduser()
        if not theirs.is_file():
            text = f'ann_file must be that of the data, {ours}, but {theirs} is missing'
            yield Finding('error', key, text, FileNotFoundError)
        elif not os.path.samefile(ours, theirs):
            try:
                (images, names), (other, called) = _ids(ours), _ids(theirs)
            except (ValueError, TypeError, KeyError):  # the check of the data says what is wrong with its own
                text = (
                    f'ann_file must be that of {data}, {ours}, or hold the same images, but {theirs} cannot be read so'
                )
                yield Finding('error', key, text)
                continue
            if images != other or names != called:
                what = 'categories' if images == other else f'images: {len(other)}, and not those {len(images)}'
                text = f'ann_file must be that of {data}, {ours}, but is {theirs}, which has other {what}'
                yield Finding('error', key, text)


def _ids(path: Path) -> tuple[dict, dict]:
    """Return what the images and the categories of a COCO file are called, by their ids."""
    content = parse(path, keep=True)
    images = {image['id']: image.get('file_name') or image['coco_url'] for image in content['images']}
    return images, {category['id']: category['name'] for category in content['categories']}


def _datasets(node: ConfigDict, key: str) -> Iterator[tuple[str, ConfigDict]]:
    """Yield the datasets below a data loader's or a wrapper's config, with their keys."""
    if 'dataset' in node:
        yield from _datasets(node['dataset'], f'{key}.dataset')
    elif 'datasets' in node:
        for index, child in enumerate(node['datasets']):
            yield from _datasets(child, f'{key}.datasets.{index}')
    else:
        yield key, node


def _dataset_class(dataset: ConfigDict) -> type | None:
    """Find the class of a dataset, None where it is not registered."""
    maker = dataset['type']
    if isinstance(maker, str):
        with DATASETS.switch_scope_and_registry(dataset.get('_scope_')) as registry:
            maker = registry.get(maker)
    return maker


def _local_paths(dataset: ConfigDict, maker: type | None) -> list[Path]:
    """List the files and folders that a dataset is going to read, as MMEngine joins them."""
    if maker and 'download' in inspect.signature(maker).parameters and dataset.get('download', True):
        return []
    root = dataset.get('data_root') or ''
    prefixes = dataset.get('data_prefix') or {}
    names = [*(prefixes.values() if isinstance(prefixes, dict) else [prefixes]), dataset.get('ann_file')]
    paths = [root, *(os.path.join(root, name) for name in names if isinstance(name, str) and name)]
    return [Path(path).expanduser() for path in paths if path and '://' not in path]


def _advice(key: str, dataset: ConfigDict, converters: Path | None) -> str:
    """Say how a missing data set is made, and how to name another place."""
    root = dataset.get('data_root') or ''
    elsewhere = f'--cfg-options {key}.data_root=FOLDER names another place.'
    name = Path(root).name.replace('-', '_')
    for script in sorted(converters.glob('[!_]*.py')) if converters else ():
        if name.startswith(script.stem):
            return f'`python {os.path.relpath(script)}` makes {root}; {elsewhere}'
    return f'Put the data there, as docs/train.md lays it out (Where data lie); {elsewhere}'
