# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Fills mmmaskany/.mim; all else about the package is in pyproject.toml, and tools/install.sh installs it."""

import os
import shutil
from pathlib import Path

from setuptools import Command, setup
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


setup(cmdclass={'build': Build, 'build_mim': BuildMim})
