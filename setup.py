# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Build rules of mmmaskany; ``bash tools/install.sh`` is the way to install it with everything it needs."""

import os
import re
import shutil
from pathlib import Path

from setuptools import Command, find_packages, setup
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
#: What mim and MMEngine look for in ``mmmaskany/.mim``.
MIM_RESOURCES = ('configs', 'tools', 'model-index.yml')


class BuildMim(Command):
    """Fills ``mmmaskany/.mim``: copies in a wheel, links into the source tree in an editable install.

    As a sub-command of ``build`` it runs under ``bdist_wheel`` and ``editable_wheel`` alike, whichever installer
    calls them; setuptools sets ``editable_mode`` for the second.
    """

    description = 'fill mmmaskany/.mim with the configs and tools'
    user_options: list = []
    editable_mode = False

    def initialize_options(self):
        self.build_lib = None

    def finalize_options(self):
        self.set_undefined_options('build_py', ('build_lib', 'build_lib'))

    def run(self):
        mim = (ROOT if self.editable_mode else Path(self.build_lib)) / 'mmmaskany' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)  # leftovers of an earlier build
        mim.mkdir(parents=True)
        for name in MIM_RESOURCES:
            source, target = ROOT / name, mim / name
            if not source.exists():
                raise FileNotFoundError(f'{source} must be there, mim looks for it')
            if self.editable_mode:
                target.symlink_to(os.path.relpath(source, mim), target_is_directory=source.is_dir())
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.py[cod]'))
            else:
                shutil.copy2(source, target)

    def get_source_files(self):
        return []  # MANIFEST.in lists them for the source distribution


class Build(build):
    sub_commands = [*build.sub_commands, ('build_mim', None)]


def requirements(name: str) -> list[str]:
    """Requirements of ``requirements/{name}.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in (re.sub(r'\s*#.*', '', line).strip() for line in lines) if line]


def version() -> str:
    text = (ROOT / 'mmmaskany' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '(.+)'", text)[1]


setup(
    name='mmmaskany',
    version=version(),
    description='MaskAnyNet and masked supervised training for OpenMMLab: classification, detection, segmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8') if (ROOT / 'README.md').is_file() else '',
    long_description_content_type='text/markdown',
    author='MMMaskAny contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='computer vision, masked image modelling, MMEngine, MMPretrain, MMDetection, MMSegmentation',
    packages=find_packages(include=['mmmaskany', 'mmmaskany.*']),
    package_data={'mmmaskany.checkpoints': ['*.json']},
    # No upper bound: the package is plain Python, and what a newer one lacks is a host, of which the maintained forks
    # build where the originals no longer do. A bound would only make pip take an old release of ours instead.
    python_requires='>=3.10',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    # MMEngine and its hosts are left out on purpose: maintained forks share their import names under other
    # distribution names, and pip would put the originals on top of them. See requirements/.
    install_requires=requirements('runtime'),
    extras_require={
        'tests': requirements('tests') + requirements('vis') + requirements('export'),
        'vis': requirements('vis'),
        'export': requirements('export'),
        'docs': requirements('docs'),
    },
    entry_points={'console_scripts': ['mmmaskany = mmmaskany.cli:run']},
    cmdclass={'build': Build, 'build_mim': BuildMim},
    zip_safe=False,
)
