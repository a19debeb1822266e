# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw where in an image a model finds what it says (Grad-CAM), of one model or of two side by side.

    python tools/visualization/vis_cam.py CONFIG CHECKPOINT --out work_dirs/cam
    python tools/visualization/vis_cam.py PLAIN.py PLAIN.pth --other MASKANY.py MASKANY.pth --names plain MaskAny

Classifiers, detectors and segmentors, convolutional or of transformers. The images are spread evenly over the test
data, or named by --images. Written are cam.png and cam.svg, and for each model with a second stem what both stems and
their fusion return, as stems-NAME.png and .svg; with --features the feature maps themselves, too, as
features-NAME.npz. It needs the grad-cam library, which the extra 'vis' brings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany.analysis.cam import METHODS, Explainer, Explanation, cam_class, stem_features
from mmmaskany.checkpoints.reading import read_weights
from mmmaskany.engine import launch
from mmmaskany.engine.checks.config import read_config
from mmmaskany.engine.hooks.launch_check_hook import check_checkpoint, start_tensors
from mmmaskany.user_errors import run
from mmmaskany.visualization import COLORS, pixels, save_figure

#: From dark to bright in steps that every eye sees.
COLORMAP = 'inferno'


@dataclass
class Picture:
    """One image and what a model says of it.

    Args:
        name (str): Name of the file.
        image (np.ndarray): As the model sees it, ``(H, W, 3)`` with values in [0, 1].
        truth (str): What it is, or ''.
        said (str): What the model says, or ''.
        found (Explanation): Where.
        boxes (np.ndarray): The annotated boxes, ``(N, 4)``.
        stems (dict[str, np.ndarray]): What the stems and their fusion return, ``(C, h, w)``; empty where there is no
            second stem.
    """

    name: str
    image: np.ndarray
    truth: str
    said: str
    found: Explanation
    boxes: np.ndarray
    stems: dict[str, np.ndarray]


def load(config: str, checkpoint: str, container: str | None = None) -> tuple[Config, torch.nn.Module]:
    """Build a model and load its checkpoint."""
    cfg = read_config(config)
    init_default_scope(cfg.default_scope)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model, weights = MODELS.build(cfg.model), read_weights(checkpoint, container)
    check_checkpoint(model, start_tensors(model, weights, complete=False), checkpoint, complete=True)  # loads it
    meta = {key.lower(): value for key, value in (weights.meta.get('dataset_meta') or {}).items()}
    model.dataset_meta = meta or dict(cfg.get('metainfo', {}))
    return cfg, model


def samples(cfg: Config, images: Sequence[str] | None, count: int, work_dir: Path) -> tuple[list[dict], dict]:
    """Load samples by the test pipeline.

    Args:
        cfg (Config): The config.
        images (Sequence[str] | None): Files; None takes test data.
        count (int): How many of the test data, evenly spread.
        work_dir (Path): Folder that is going to be written into.

    Returns:
        tuple[list[dict], dict]: The samples, and what is known of the data, such as its classes.
    """
    if images is None:
        cfg.work_dir = str(work_dir)
        launch.check_files(cfg, ('test',), Path(__file__).resolve().parents[1] / 'dataset_converters')
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        picks = torch.linspace(0, len(dataset) - 1, count + 2)[1:-1].long().unique().tolist()
        return [dataset[index] for index in picks], dataset.metainfo
    for file in images:
        if not Path(file).is_file():
            raise FileNotFoundError(f'--images must name files, but there is no {file}')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    steps = [TRANSFORMS.build(step) for step in dataset.pipeline if 'LoadAnnotations' not in step['type']]
    return [Compose(steps)(dict(img_path=str(file), img_id=index)) for index, file in enumerate(images)], {}


def look(config: str, checkpoint: str, args: argparse.Namespace) -> list[Picture]:
    """Explain every image by one model."""
    cfg, model = load(config, checkpoint, args.container)
    explainer = Explainer(model.to(args.device), args.layer, args.method, args.score)
    data, meta = samples(cfg, args.images, args.num_images, args.out)
    classes = model.dataset_meta.get('classes') or meta.get('classes') or ()
    if classes:
        model.dataset_meta = dict(model.dataset_meta, classes=classes)
    target = args.target
    if target not in ('gt', 'pred'):
        target = classes.index(target) if target in classes else int(target) if target.isdigit() else None
        if target is None:
            raise ValueError(
                f"--target must be 'gt', 'pred', an index or one of {list(classes)}, but got {args.target}"
            )

    def word(label: int | None) -> str:
        return '' if label is None else str(classes[label]) if label < len(classes) else f'class {label}'

    pictures = []
    for one in data:
        batch = model.data_preprocessor(pseudo_collate([one]), False)
        inputs, sample = batch['inputs'], batch['data_samples'][0]
        found = explainer(inputs, sample, target)
        height, width = sample.img_shape[:2] if 'img_shape' in sample else inputs.shape[-2:]
        found.cam = found.cam[:height, :width]
        stems = {}
        if getattr(model.backbone, 'dual_stem', None) is not None:
            features = stem_features(model, lambda inputs=inputs: explainer.outputs(inputs))
            stems = {part: each.numpy() for part, each in features.items()}
        truth, boxes = '', np.zeros((0, 4))
        if 'gt_label' in sample:
            truth = word(int(sample.gt_label[0]))
        elif 'gt_instances' in sample:
            scale = np.tile(sample.get('scale_factor', (1, 1)), 2) if len(sample.gt_instances) else 1
            boxes = np.asarray(getattr(sample.gt_instances.bboxes, 'tensor', sample.gt_instances.bboxes).cpu()) * scale
        said = '' if found.score is None else f'{word(found.label)} ({found.score:.2f})'
        if said and explainer.task == 'detection':
            said = f'{len(found.boxes)} {word(found.label)} found, best {found.score:.2f}'.replace('  ', ' ')
        if found.predicted is not None and found.predicted != found.label:
            said = f'{said}, but says {word(found.predicted)}'
        name = Path(sample.get('img_path') or '').name
        image = pixels(inputs, model.data_preprocessor)[0].cpu().numpy()[:height, :width]
        pictures.append(Picture(name, image, truth, said, found, boxes, stems))
    print(f'{config}: {explainer.task}, {args.method} of {explainer.layer}', flush=True)
    return pictures


def grid(rows: Sequence[str], columns: Sequence[Picture], bar: str) -> tuple[Figure, np.ndarray]:
    """Lay out rows of pictures with a colour bar beside them."""
    aspect = max(picture.image.shape[0] / picture.image.shape[1] for picture in columns)
    side = 1.7  # in
    figure = Figure((1.5 + side * len(columns), (side * aspect + 0.3) * len(rows) + 0.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    for row, label in enumerate(rows):
        axes[row, 0].set_ylabel(label, fontsize=9)
    colours = ScalarMappable(cmap=COLORMAP)
    colours.set_clim(0, 1)
    figure.colorbar(colours, ax=axes[1:], fraction=0.03, aspect=30, label=bar)
    return figure, axes


def frame(axis, boxes: np.ndarray, color: str) -> None:
    """Draw boxes."""
    for left, top, right, bottom in boxes:
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.2))


def cam_sheet(models: dict[str, list[Picture]], method: str) -> Figure:
    """Draw the images, and below them what each model says and where it finds it."""
    first = next(iter(models.values()))
    figure, axes = grid(['image', *models], first, f'{method}, of each picture by itself')
    for column, picture in enumerate(first):
        axes[0, column].imshow(picture.image)
        axes[0, column].set_title(picture.truth or picture.name, fontsize=9)
        frame(axes[0, column], picture.boxes, COLORS[5])
    for row, pictures in enumerate(models.values(), 1):
        for axis, picture in zip(axes[row], pictures, strict=True):
            height, width = picture.image.shape[:2]
            # Neither black nor white, so that the colours keep near those of the bar.
            axis.imshow(0.25 + picture.image.mean(-1) / 2, cmap='gray', vmin=0, vmax=1)
            axis.imshow(picture.found.cam, cmap=COLORMAP, vmin=0, vmax=1, alpha=0.6)
            axis.set_title(picture.said or 'nothing found', fontsize=9)
            frame(axis, picture.found.boxes, COLORS[5])
            if picture.found.region is not None:
                axis.contour(picture.found.region[:height, :width], [0.5], colors=COLORS[5], linewidths=1)
    return figure


def stem_sheet(name: str, pictures: list[Picture]) -> Figure:
    """Draw what both stems of a model and their fusion return for each image."""
    rows = list(pictures[0].stems)
    figure, axes = grid(
        ['image', *rows], pictures, 'length of the feature vectors\n(the longest of the three maps = 1)'
    )
    for column, picture in enumerate(pictures):
        axes[0, column].imshow(picture.image)
        axes[0, column].set_title(picture.truth or picture.name, fontsize=9)
        lengths = [np.linalg.norm(features, axis=0) for features in picture.stems.values()]
        largest = max(float(length.max()) for length in lengths) or 1
        for row, length in enumerate(lengths, 1):
            axes[row, column].imshow(length / largest, cmap=COLORMAP, vmin=0, vmax=1, interpolation='nearest')
            axes[row, column].set_title(f'mean {length.mean() / largest:.2f}', fontsize=8)
    figure.suptitle(name, fontsize=10)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Draw the sheets and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a classifier, a detector or a segmentor')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--container', help='where in a checkpoint its weights lie (default: found out)')
    parser.add_argument('--other', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='another model, beside it')
    parser.add_argument('--names', nargs='+', help='what to call the models (default: by their configs)')
    parser.add_argument('--images', nargs='+', metavar='FILE', help='these images instead of the test data')
    parser.add_argument('--num-images', type=int, default=6, help='how many of the test data (default: 6)')
    parser.add_argument(
        '--target',
        default='gt',
        help="class to explain: 'gt', the annotated one (default), 'pred', the predicted one, or its name or index. Of "
        'a detector the first two mean every class, of a segmentor the one that covers most of the image',
    )
    parser.add_argument(
        '--layer', help='whose features, by its name in the model (default: the last map of the backbone)'
    )
    parser.add_argument('--method', choices=METHODS, default='gradcam', help='default: gradcam')
    parser.add_argument('--score', type=float, default=0.3, help='leave out detections below this (default: 0.3)')
    parser.add_argument(
        '--features',
        action='store_true',
        help='also write the feature maps of both stems and their fusion, as arrays named IMAGE/STEM, (C, h, w)',
    )
    parser.add_argument('--out', type=Path, help='folder of the sheets (default: work_dirs/CONFIG/cam)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    args = parser.parse_args(argv)
    models = [(args.config, args.checkpoint), *([args.other] if args.other else [])]
    args.out = args.out or Path('work_dirs', Path(args.config).stem, 'cam')
    names = args.names or [Path(config).stem.replace('_', '\n') for config, _ in models]
    try:
        if len(names) != len(models) or len(set(names)) < len(names):
            raise ValueError(f'--names must be {len(models)} different ones, one for each model, but got {names}')
        if args.num_images < 1:
            raise ValueError(f'--num-images must be at least 1, but got {args.num_images}')
        cam_class(args.method)  # before anything is loaded
        seen = {name: look(*model, args) for name, model in zip(names, models, strict=True)}
        files = [[picture.name for picture in pictures] for pictures in seen.values()]
        if any(other != files[0] for other in files):
            raise ValueError(f'both models must be tested on the same images, but got {files[0]} and {files[-1]}')
        if args.features and not any(pictures[0].stems for pictures in seen.values()):
            raise ValueError(
                f'--features needs a model with a second stem, but none of {[config for config, _ in models]} has one'
            )
        sheets, arrays = {'cam': cam_sheet(seen, args.method)}, {}
        for name, pictures in seen.items():
            if pictures[0].stems:
                sheets[f'stems-{"".join(name.split())}'] = stem_sheet(name.replace('\n', '_'), pictures)
                arrays[f'features-{"".join(name.split())}'] = {
                    f'{picture.name}/{part}': features
                    for picture in pictures
                    for part, features in picture.stems.items()
                }
        for name, figure in sheets.items():
            for path in save_figure(figure, args.out / name):
                print(f'wrote {path}')
        for name, features in arrays.items() if args.features else ():
            np.savez_compressed(args.out / f'{name}.npz', **features)
            print(f'wrote {args.out / name}.npz')
    except (ImportError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
