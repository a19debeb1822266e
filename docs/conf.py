# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the site is made of the pages and docstrings; ``bash tools/misc/build_docs.sh`` makes it.

Sphinx reads the whole repository rather than this folder, so that the links of a page, to configs, to scripts and to
the READMEs beside them, lead to the same places as where the repository is browsed: to the page of a README, and to a
copy of any other file.
"""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = 'MMMaskAny'
author = 'MMMaskAny contributors'
copyright = f'2026, {author}'
version = release = runpy.run_path(str(ROOT / 'mmmaskany/version.py'))['__version__']

extensions = ['myst_parser', 'autoapi.extension', 'sphinx.ext.napoleon']
root_doc = 'docs/index'
include_patterns = ['*.md', 'configs/**.md', 'docs/**']
exclude_patterns = ['.*', '**/.*', 'data', 'work_dirs', 'docs/_build', 'docs/conf.py']

# Headings are named as GitHub names them, so that links to them are checked.
myst_heading_anchors = 4

html_theme = 'furo'
html_title = f'MMMaskAny {release}'

# --------------------------------------------------------------------------------------------------- API reference

autoapi_dirs = [str(ROOT / 'mmmaskany')]
autoapi_ignore = ['*/.mim/*', '*/__main__.py']
autoapi_root = 'docs/api'
autoapi_add_toctree_entry = False
autoapi_options = ['members', 'imported-members', 'show-inheritance', 'show-module-summary']
autodoc_typehints = 'none'  # the docstrings say types

#: The modules that each package lists in ``__all__``; None where it has no list.
listed = {}


def skip(app, what, name, obj, skip, options):
    """Leave out what is not public, and show each name where users import it from, once.

    A package that lists names in ``__all__`` shows those that are defined in modules of its own, and in place of these
    modules; names that it takes over from a package below are shown there. A package without a list shows its modules,
    and so does the root.
    """
    package, _, short = name.rpartition('.')
    if what == 'package':
        names = obj.obj['all']
        listed[name] = None if names is None else set(names) - {child.name for child in obj.children}
        return False
    if what == 'module':
        return '.' in package and listed[package] is not None and short not in listed[package]
    if obj.imported and package in listed:
        inside, _, rest = obj.obj['original_path'].removeprefix(f'{package}.').partition('.')
        below = (ROOT / package.replace('.', '/') / inside).is_dir()
        return below or not rest or '.' in rest or skip
    return skip


def setup(app):
    app.connect('autoapi-skip-member', skip)
