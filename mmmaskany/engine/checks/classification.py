# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is wrong with the images and labels of a classification set, said before a training starts."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from .files import by_suffix, folder
from .finding import Finding, Survey, first
from .images import check_depth, check_unread, list_files, sort_unread
from .lists import check_listed, read_list, read_multi_label
from .sizes import Loading, check_colours

#: What mmpretrain reads of a folder.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
#: Folders that are splits rather than classes.
_SPLITS = {'train', 'training', 'val', 'valid', 'validation', 'test', 'testing', 'images', 'labels', 'annotations'}


def head_classes(model: Mapping | None) -> int | None:
    """Return how many classes the head of a classifier's config predicts.

    Args:
        model (Mapping, optional): The config of the model.

    Returns:
        int | None: None where it says nothing of it, or has several heads.
    """
    head = (model or {}).get('head')
    count = head.get('num_classes') if isinstance(head, Mapping) else None
    return count if isinstance(count, int) else None


def image_folder(dataset: ConfigDict) -> Path:
    """Return the folder of a set of mmpretrain's.

    Args:
        dataset (ConfigDict): Its config.

    Returns:
        Path: ``data_prefix``, below ``data_root``.
    """
    prefix = dataset.get('data_prefix') or ''
    return folder(dataset, prefix.get('img_path', '') if isinstance(prefix, Mapping) else prefix)


def locate(dataset: ConfigDict, maker: type | None) -> ConfigDict:
    """Write out which folder and list ``split`` means for mmpretrain's ImageNet, as that does.

    Args:
        dataset (ConfigDict): The config of a dataset.
        maker (type, optional): Its class.

    Returns:
        ConfigDict: A copy with ``data_prefix`` and ``ann_file``; the same config for other sets.
    """
    split = dataset.get('split')
    modules = {parent.__module__ for parent in getattr(maker, '__mro__', ())}
    if not split or 'mmpretrain.datasets.imagenet' not in modules:
        return dataset
    listing = f'meta/{split}.txt'
    dataset = ConfigDict({**dataset, 'data_prefix': dataset.get('data_prefix') or split})
    if not dataset.get('ann_file') and folder(dataset, listing).exists():
        dataset.ann_file = listing
    if split == 'test':
        dataset.with_label = False
    return dataset


def check_classification(key: str, dataset: ConfigDict, maker: type, cfg: Config) -> Survey | None:
    """Look at a set of mmpretrain's: class folders, a list of images and labels, or a JSON of several labels.

    Args:
        key (str): The config key of the dataset.
        dataset (ConfigDict): Its config.
        maker (type): Its class.
        cfg (Config): The whole config.

    Returns:
        Survey | None: What was seen; None for sets of other kinds.
    """
    loader = getattr(maker, 'load_data_list', None)
    if not getattr(maker, '__module__', '').startswith('mmpretrain.') and not _is_custom(loader):
        return None
    kind = 'list' if _is_custom(loader) else 'json' if maker.__name__ == 'MultiLabelDataset' else None
    if kind is None or dataset.get('backend_args'):
        return None
    root = image_folder(dataset)
    ann_file = dataset.get('ann_file')
    classes = _classes(dataset, maker) or head_classes(cfg.get('model'))
    if kind == 'json':
        given = _classes(dataset, maker)
        names, labels, named, found = read_multi_label(key, folder(dataset, ann_file), given)
        found += check_listed(key, root, names)
        return _survey(key, found, root, names, labels, given or named, dataset)
    labelled = dataset.get('with_label', True)
    if ann_file:
        names, labels, found = read_list(key, folder(dataset, ann_file), labelled, classes)
        found += check_listed(key, root, names)
        labels = [[label] for label in labels]
        found += _one_class(key, labels) if labelled else []
        return _survey(key, found, root, names, labels, classes, dataset)
    return _check_folders(key, dataset, root, labelled, _classes(dataset, maker))


def _is_custom(loader: object) -> bool:
    return getattr(loader, '__qualname__', '') == 'CustomDataset.load_data_list'


def _classes(dataset: Mapping, maker: type) -> Sequence[str] | None:
    """Return the class names that a config gives a set, or that its class has."""
    classes = (dataset.get('metainfo') or {}).get('classes') or dataset.get('classes')
    if isinstance(classes, str):  # a file of names, as mmpretrain reads it
        path = Path(classes).expanduser()
        classes = path.read_text().splitlines() if path.is_file() else None
    return classes or (getattr(maker, 'METAINFO', None) or {}).get('classes')


def _check_folders(
    key: str, dataset: ConfigDict, root: Path, labelled: bool, classes: Sequence[str] | None
) -> Survey | None:
    """Look at class folders, or at one folder of images without labels."""
    files = list_files(root)
    given = tuple(suffix.lower() for suffix in dataset.get('extensions') or SUFFIXES)
    # What lies beside the class folders belongs to no class.
    inside = [name for name in files if '/' in name] if labelled else files
    names = [name for name in inside if name.lower().endswith(given)]
    read = set(names)
    found = list(check_unread(key, root, (name for name in inside if name not in read), len(names), given))
    if dataset.get('extensions'):
        found = [finding._replace(level='note') for finding in found]
    if not labelled:
        if not names:
            found.append(Finding('error', key, f'{root} must hold images {" ".join(given)}, but holds none'))
        return _survey(key, found, root, names, [], None, dataset)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    hidden = [name for name in folders if name.startswith('.')]
    if hidden:  # as Jupyter leaves them
        text = f'{root} must hold a folder for each class, but {first(hidden)} would be one, too: remove it'
        found.append(Finding('error', key, text))
    buried = [name for name in names if '/.' in name]
    if buried:
        text = f'{len(buried)} images lie in hidden folders below {root} and are read all the same: {first(buried)}'
        found.append(Finding('warning', key, text))
    images = Counter(name.partition('/')[0] for name in names)
    place = {name: index for index, name in enumerate(folders)}
    empty = [name for name in folders if not images[name]]
    loose = [name for name in files if '/' not in name and name.lower().endswith(given)]
    if not folders:
        advice = '; with_label=False reads images without labels' if loose else ''
        text = f'{root} must hold a folder for each class, but holds none{advice}'
        return Survey(key, [Finding('error', key, text)])
    if not names:
        text = f'{root} must hold images {" ".join(given)} in its {len(folders)} class folders, but holds none'
        found.append(Finding('error', key, text))
    if classes and len(classes) != len(folders):
        text = f'{root} must hold a folder for each of {len(classes)} classes, but holds {len(folders)}'
        found.append(Finding('error', key, f'{text}: {first(folders, 10)}'))
    splits = [name for name in folders if name.lower() in _SPLITS]
    if len(splits) > 1:
        found.append(
            Finding(
                'warning' if len(splits) < len(folders) else 'error',
                key,
                f'the folders of {root} are the classes, but {first(splits)} look like splits: '
                f'data_prefix={splits[-1]!r} would read one of them',
            )
        )
    elif len(folders) == 1:
        found.append(_lone(key, f'{root} has one folder, {folders[0]}'))
    if names and empty:
        text = f'each class folder of {root} must hold images, but {len(empty)} of {len(folders)} hold none: '
        found.append(Finding('warning', key, text + first(empty) + '. A folder is a class even so, and counts'))
    if loose:
        text = f'{len(loose)} images lie beside the class folders of {root} and are not read: {first(loose)}'
        found.append(Finding('warning', key, text))
    labels = [[place[name.partition('/')[0]]] for name in names]
    return _survey(key, found, root, names, labels, classes or folders, dataset)


def _one_class(key: str, labels: Iterable[Sequence[int]]) -> list[Finding]:
    present = {one for label in labels for one in label}
    return [_lone(key, f'all labels are {present.pop()}')] if len(present) == 1 else []


def _lone(key: str, what: str) -> Finding:
    training = key.startswith('train')
    text = f'there must be two classes at least, for with one the loss is 0 and every answer right, but {what}'
    return Finding('error' if training else 'warning', key, text)


def _survey(
    key: str,
    found: list[Finding],
    root: Path,
    names: Sequence[str],
    labels: Sequence[Sequence[int]],
    classes: Sequence[str] | int | None,
    dataset: Mapping,
) -> Survey:
    """Put together what was seen, and look into some images."""
    load = next((step for step in dataset.get('pipeline') or () if 'LoadImage' in str(step.get('type'))), {})
    if not any(finding.kind is FileNotFoundError for finding in found):
        some = [os.path.join(root, name) for name in names[:: max(1, len(names) // 1000)]]
        loading = Loading(load.get('color_type', 'color'), load.get('imdecode_backend', 'cv2'))
        found += [*check_depth(key, some, loading.color_type), *check_colours(key, some, loading)]
    numbers = Counter(one for label in labels for one in label)
    called = classes if isinstance(classes, Sequence) else range(max([*numbers, (classes or 0) - 1, -1]) + 1)
    counts = {str(name): numbers[index] for index, name in enumerate(called)}
    if key.startswith('train') and numbers and not any(finding.level == 'error' for finding in found):
        never = [name for name, count in counts.items() if not count]
        if never and len(never) < len(counts) and not any('folder is a class' in finding.text for finding in found):
            text = f'{len(never)} of {len(counts)} classes occur in no image: {first(never)}'
            found.append(Finding('warning', key, text))
    return Survey(key, found, counts, {'images': f'{len(names)}'})


def read_all_images(cfg: Config, splits: Iterable[str]) -> list[str]:
    """Let class folders be read with all images that OpenCV can read, unless their config says what to read.

    mmpretrain takes files of seven suffixes and passes over others without a word.

    Args:
        cfg (Config): The config; ``extensions`` of such data sets are completed.
        splits (Iterable[str]): Which data is going to be used: 'train', 'val', 'test'.

    Returns:
        list[str]: What the log should say about it.
    """
    from .data import _dataset_class, _datasets

    init_default_scope(cfg.get('default_scope') or 'mmengine')
    notes = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for key, dataset in _datasets(loader, f'{split}_dataloader') if loader else ():
            maker = _dataset_class(dataset)
            config, dataset = dataset, locate(dataset, maker)
            if not _is_custom(getattr(maker, 'load_data_list', None)) or dataset.get('ann_file'):
                continue
            root = image_folder(dataset)
            if dataset.get('extensions') or dataset.get('backend_args') or not root.is_dir():
                continue
            files = [name for name in list_files(root) if '/' in name or not dataset.get('with_label', True)]
            more = sort_unread(root, (name for name in files if not name.lower().endswith(SUFFIXES))).get('cv2', [])
            suffixes = {os.path.splitext(name)[1].lower() for name in more} - {''}
            if suffixes:
                config.extensions = tuple(sorted({*SUFFIXES, *suffixes}))
                notes.append(
                    f'{key}: {len(more)} images of {root} have suffixes that mmpretrain passes over, '
                    f'{by_suffix(more)}: '
                    f'they are read, too, with extensions={config.extensions}.'
                )
    return notes
