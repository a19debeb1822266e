# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Print one page on this environment: versions, every known trap with its fix, and the shortest way to what is missing.

Exits with 1 where training could not work, with 0 otherwise. Detection and segmentation are optional: where MMDetection
or MMSegmentation is not installed, the page only says so. Where torch or MMEngine cannot be imported, nothing of
mmmaskany can: then `python tools/misc/check_env.py` prints the same page.

    mmmaskany doctor
"""

import importlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INSTALL = 'bash tools/install.sh'
INSTALL_HERE = 'bash tools/install.sh --current-env'
OK, NOTE, FAIL = 'ok', 'note', 'FAIL'
#: The sets of OpenMMLab's libraries: which distribution brings a module. Both own the same files.
SETS = {
    'originals': dict(mmcv='mmcv', mmengine='mmengine', mmpretrain='mmpretrain', mmdet='mmdet', mmseg='mmsegmentation'),
    'onedl': dict(
        mmcv='onedl-mmcv',
        mmengine='onedl-mmengine',
        mmpretrain='onedl-mmpretrain',
        mmdet='onedl-mmdetection',
        mmseg='onedl-mmsegmentation',
    ),
}
#: Further distributions of the originals' mmcv: without operators, and from before it was renamed.
OTHER_MMCV = {'mmcv-lite', 'mmcv-full'}
#: Traps that lie in configs and habits, where no check finds them.
ADVICE = """
Worth knowing:
  _base_ = 'mmmaskany::...'   MMEngine's list of packages is fixed: use a relative path (mmpretrain:: and so on work)
  type='mmmaskany.X'          always with its prefix, and custom_imports=dict(imports=['mmmaskany'],
                              allow_failed_imports=False), so that a broken import is loud
  RuntimeError: SyncBN        on the CPU, in a script of your own: take BN (tools/train.py does it by itself)
  mim train mmmaskany ...     finds an editable install only as `python -m mim` in the repository's folder; keep
                              openmim in an environment of its own
  a second environment        pip keeps the compiled mmcv, but not for which torch: tools/install.sh tries it
                              and rebuilds it
"""


class Page:
    """The rows of the page; remembers whether one of them rules training out."""

    def __init__(self):
        self.failed = self.partial = False

    def row(self, status, name, text, fix=None):
        """Prints one row.

        Args:
            status (str): ``'ok'``, ``'note'`` or ``'FAIL'``.
            name (str): What was looked at.
            text (str): What was found.
            fix (str, optional): What to do about it. Default: None.
        """
        self.failed |= status == FAIL
        self.partial |= fix is not None and 'tools/install.sh' in fix
        print(f'{status:4}  {name:14} {text}')
        if fix:
            print(f'{"":21}fix: {fix}')


def release(version):
    """``'2.11.0+cu130'`` -> ``(2, 11)``."""
    return tuple(int(number) for number in re.findall(r'\d+', version)[:2])


def one_line(error):
    """The error on one line, without colours and not endlessly long."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    return re.sub(r'\x1b\[[0-9;]*m', '', text)[:160]


def load(name):
    """The module, or the one-line reason why it cannot be imported."""
    try:
        return importlib.import_module(name), ''
    except Exception as error:  # libraries raise AssertionError, broken extensions OSError
        return None, one_line(error)


def distributions():
    """Names of the installed distributions, in lower case."""
    names = (dist.metadata['Name'] or '' for dist in importlib.metadata.distributions())
    return {name.lower().replace('_', '-') for name in names}


def is_there(module):
    return importlib.util.find_spec(module) is not None


def found_sets(installed):
    """The distributions of each set of libraries that are installed.

    Args:
        installed (set[str]): Names of all installed distributions.

    Returns:
        dict[str, list[str]]: Names by the set, ``'originals'`` and ``'onedl'``.
    """
    found = {name: set(modules.values()) & installed for name, modules in SETS.items()}
    found['originals'] |= OTHER_MMCV & installed
    return {name: sorted(there) for name, there in found.items()}


def choose_set():
    """The set of libraries for this interpreter: the one that is installed, else the one that its Python can build."""
    found = [name for name, there in found_sets(distributions()).items() if there]
    if len(found) == 1:
        return found[0]
    return 'originals' if sys.version_info < (3, 13) else 'onedl'


def half_removed(installed):
    """Folders of OpenMMLab's libraries that no installed distribution owns: what an uninstall left behind.

    Args:
        installed (set[str]): Names of all installed distributions.

    Returns:
        dict[str, str]: The folder of each such module.
    """
    folders = {}
    for module in SETS['originals']:
        owners = {modules[module] for modules in SETS.values()} | (OTHER_MMCV if module == 'mmcv' else set())
        for place in dict.fromkeys((sysconfig.get_path('purelib'), sysconfig.get_path('platlib'))):
            if not owners & installed and Path(place, module).is_dir():
                folders[module] = str(Path(place, module))
    return folders


def check_python(page):
    version = platform.python_version()
    where = f'{version} at {sys.executable}'
    if sys.version_info < (3, 10):  # noqa: UP036 (the page is for those who have the wrong one)
        page.row(FAIL, 'python', where, 'Python 3.10 or later')
    else:
        page.row(OK, 'python', where)
    page.row(OK, 'machine', f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores')


def check_torch(page):
    torch, reason = load('torch')
    if torch is None:
        page.row(FAIL, 'torch', reason, INSTALL)
        return None
    version = torch.__version__
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        device = f'CUDA {torch.version.cuda}, {len(gpus)} x {gpus[0]}'
    else:
        device = 'no GPU: trains on the CPU, with --amp in bfloat16'
    if release(version) < (2, 6):
        page.row(FAIL, 'torch', f'{version}, but torch >= 2.6 must hold', INSTALL)
    elif release(version) >= (2, 14) and torch.cuda.is_available():
        text = f"{version}, {device}; mmcv's operators for GPUs are compiled with C++17, which this torch refuses"
        page.row(NOTE, 'torch', text, 'torch < 2.14, for detection on the GPU')
    else:
        page.row(OK, 'torch', f'{version}, {device}')
    distributed = torch.distributed.is_available() and torch.distributed.is_gloo_available()
    if not distributed:
        page.row(NOTE, 'distributed', 'this torch has no gloo: one process only', 'an official build of torch')
    elif not torch.cuda.is_available():
        page.row(OK, 'distributed', 'gloo; on the CPU the tools replace SyncBN by BN')
    else:
        page.row(OK, 'distributed', 'nccl and gloo' if torch.distributed.is_nccl_available() else 'gloo')
    torchvision, reason = load('torchvision')
    if torchvision is None:
        page.row(FAIL, 'torchvision', reason, 'the torchvision made for this torch; ' + INSTALL_HERE)
    else:
        page.row(OK, 'torchvision', torchvision.__version__)
    return torch


def check_setuptools(page, chosen):
    setuptools, _ = load('setuptools')
    version = getattr(setuptools, '__version__', 'not installed')
    if chosen == 'originals' and load('pkg_resources')[0] is None:
        fix = 'pip install "setuptools>=64,<81"'
        page.row(FAIL, 'setuptools', f'{version}: no pkg_resources (gone since 82), which mmengine and mmcv need', fix)
    else:
        page.row(OK, 'setuptools', version)


def check_libraries(page):
    for name in ('numpy', 'cv2', 'scipy', 'pycocotools'):
        module, reason = load(name)
        if module is None and name == 'cv2' and not reason.startswith('ModuleNotFoundError'):
            page.row(FAIL, name, reason, 'apt-get install libgl1 libglib2.0-0')
        elif module is None:
            optional = name in ('scipy', 'pycocotools')  # detection and segmentation
            page.row(NOTE if optional else FAIL, name, reason, INSTALL_HERE)
        else:
            page.row(OK, name, getattr(module, '__version__', 'installed'))


def check_mmengine(page):
    mmengine, reason = load('mmengine')
    if mmengine is None:
        page.row(FAIL, 'mmengine', reason, INSTALL_HERE)
    else:
        page.row(OK, 'mmengine', mmengine.__version__)


def check_mmcv(page, torch, installed):
    mmcv, reason = load('mmcv')
    if mmcv is None:
        page.row(FAIL, 'mmcv', reason, INSTALL_HERE)
        return
    if torch is None:
        page.row(NOTE, 'mmcv', f'{mmcv.__version__}, its operators cannot be tried without torch')
        return
    try:
        from mmcv.ops import nms

        boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]])
        scores = torch.tensor([0.9, 0.8, 0.7])
        kept = nms(boxes, scores, 0.5)[1].tolist()
        if kept != [0, 2]:
            raise RuntimeError(f'nms keeps boxes {kept}, but [0, 2] is right')
    except Exception as error:
        text = f'{mmcv.__version__}, operators broken: {one_line(error)}'
        if {'mmcv-lite', 'onedl-mmcv'} & installed and not is_there('mmdet') and not is_there('mmseg'):
            page.row(NOTE, 'mmcv', f'{mmcv.__version__}, without operators: classification only', INSTALL)
        else:
            page.row(FAIL, 'mmcv', f'{text} (built without torch, or for another torch)', INSTALL_HERE)
        return
    if torch.cuda.is_available():
        try:
            nms(boxes.cuda(), scores.cuda(), 0.5)
        except Exception as error:
            text = f'{mmcv.__version__}, operators for the CPU only, no detection on the GPU: {one_line(error)}'
            page.row(NOTE, 'mmcv', text, f"install nvcc of torch's CUDA version, then {INSTALL_HERE}")
            return
    page.row(OK, 'mmcv', f'{mmcv.__version__}, operators work')


def check_openmmlab(page, installed):
    mmpretrain, reason = load('mmpretrain')
    if mmpretrain is None:
        page.row(FAIL, 'mmpretrain', reason, INSTALL_HERE)
    elif (models := load('mmpretrain.models'))[0] is None:
        fix = 'pip uninstall transformers' if 'transformers' in installed else INSTALL_HERE
        page.row(FAIL, 'mmpretrain', f'{mmpretrain.__version__}, its models: {models[1]}', fix)
    else:
        page.row(OK, 'mmpretrain', mmpretrain.__version__)

    for name, task in dict(mmdet='detection', mmseg='segmentation').items():
        if not is_there(name):
            page.row(NOTE, name, f'not installed: no {task}', INSTALL_HERE)
            continue
        library, reason = load(name)
        missing = [part for part in ('ftfy', 'regex') if name == 'mmseg' and not is_there(part)]
        if library is None:
            page.row(FAIL, name, reason, INSTALL_HERE)
        elif missing:
            text = f'{library.__version__} needs {" and ".join(missing)} and does not say so to pip'
            page.row(FAIL, name, text, INSTALL_HERE)
        else:
            page.row(OK, name, library.__version__)


def check_strangers(page, installed):
    """Distributions that do harm beside OpenMMLab's libraries."""
    found = found_sets(installed)
    if all(found.values()):
        both = ', '.join(found['originals'] + found['onedl'])
        page.row(
            FAIL,
            'forks',
            f'originals and onedl-* forks overwrite each other: {both}',
            f'{INSTALL} --hosts {choose_set()}',
        )
    elif found['onedl']:
        page.row(OK, 'forks', ', '.join(found['onedl']))
    for module, folder in half_removed(installed).items():
        text = f'{folder} is left of a package that is no longer installed'
        page.row(FAIL, module, text, f'rm -r {shlex.quote(folder)}, then {INSTALL}')
    if 'transformers' in installed:
        text = "installed; mmpretrain's multimodal models break with its newer releases"
        page.row(
            NOTE, 'transformers', text, 'pip uninstall transformers, unless you need it and mmpretrain is ok above'
        )
    if 'openmim' in installed:
        text = 'installed; it holds setuptools, urllib3 and requests at old versions'
        page.row(NOTE, 'openmim', text, 'pip uninstall openmim; keep it in an environment of its own')


def check_mmmaskany(page, torch):
    sys.path.append(str(ROOT))  # the page is of use before the package is installed, too
    mmmaskany, reason = load('mmmaskany')
    if mmmaskany is None:
        page.row(FAIL, 'mmmaskany', reason, INSTALL_HERE)
        return
    folder = Path(mmmaskany.__file__).parent
    page.row(OK, 'mmmaskany', f'{mmmaskany.__version__} from {folder}')
    if not (folder / '.mim' / 'configs').is_dir():
        page.row(NOTE, 'mim', f'{folder / ".mim"} is missing: mim finds no configs', 'pip install --no-deps -e .')

    registry, reason = load('mmpretrain.registry')
    if registry is not None:
        try:
            found = registry.MODELS.get('mmmaskany.MaskAny')
            reason = 'mmmaskany.MaskAny is not registered'
        except Exception as error:
            found, reason = None, one_line(error)
        if found is None:
            page.row(FAIL, 'registry', reason, 'an intact copy of this repository (git status)')
        else:
            page.row(OK, 'registry', 'mmmaskany.* resolves in the scopes of the libraries')

    logging, _ = load('mmengine.logging')
    if torch is None or logging is None:
        return
    protection, reason = load('mmmaskany.checkpoints.protection')
    if protection is None:
        page.row(FAIL, 'torch.load', reason, 'an intact copy of this repository (git status)')
        return
    protection.protect()
    # What a training checkpoint holds: since torch 2.6, torch.load refuses MMEngine's own history buffers.
    file = io.BytesIO()
    try:
        history = logging.HistoryBuffer([0.5, 0.25], [1, 1])
        torch.save(dict(message_hub=dict(log_scalars=dict(loss=history))), file)
        file.seek(0)
        loaded = torch.load(file)['message_hub']['log_scalars']['loss']
        if loaded.current() != 0.25:
            raise RuntimeError(f'the last value is {loaded.current()}, but 0.25 was saved')
        page.row(OK, 'torch.load', 'training checkpoints load with weights_only=True')
    except Exception as error:
        text = f'no training checkpoint can be resumed: {one_line(error)}'
        page.row(FAIL, 'torch.load', text, 'the versions of torch and MMEngine in requirements/')


def way():
    """The shortest way to a working set on this machine, in words."""
    if sys.version_info < (3, 10):  # noqa: UP036
        return f'install Python 3.11, or another from 3.10 on, with its venv module, then: {INSTALL}'
    free = shutil.disk_usage(sys.prefix).free / 1e9
    if free < 4:
        room = f'it needs at least 4 GB in {sys.prefix}, where {free:.1f} GB are free'
        return f'{INSTALL}, but only after making room: {room}'
    compiler = (os.environ.get('CXX', '').split() or ['g++' if shutil.which('g++') else 'c++'])[0]
    headers = Path(sysconfig.get_path('include'), 'Python.h').is_file()
    lacking = [name for name, there in ((compiler, shutil.which(compiler)), ('Python.h', headers)) if not there]
    if lacking:
        return (
            f'{INSTALL} --classification (minutes, classifiers only); for detection and segmentation mmcv has to be '
            f'compiled, and {" and ".join(lacking)} is missing here (Debian, Ubuntu: apt-get install g++ python3-dev), '
            f'then: {INSTALL}'
        )
    light = f'classifiers alone are quicker: {INSTALL} --classification'
    forks = 'the maintained forks, as this Python asks for; ' if sys.version_info >= (3, 13) else ''
    return f'{INSTALL} ({forks}compiles mmcv once, about 3 minutes on two cores; {light})'


def doctor():
    """Print the page.

    Returns:
        int: The exit code: 1 where training could not work, else 0.
    """
    warnings.simplefilter('ignore')
    page = Page()
    installed = distributions()
    check_python(page)
    torch = check_torch(page)
    check_setuptools(page, choose_set())
    check_libraries(page)
    check_mmengine(page)
    check_mmcv(page, torch, installed)
    check_openmmlab(page, installed)
    check_strangers(page, installed)
    check_mmmaskany(page, torch)
    if page.failed or page.partial:
        page.row(NOTE, 'shortest way', way())
    print(ADVICE)
    print('FAIL: training cannot work here' if page.failed else 'ok: training can work here')
    return 1 if page.failed else 0


def add_arguments(parser):
    """There are no options."""


def main(args=None):
    """Print the page and return the exit code."""
    return doctor()
