# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The command ``mmmaskany``: a table of its parts, each of which is imported when it is called.

A part is a module with a docstring that says what it does and ends in an example, ``add_arguments(parser)`` and
``main(args)``, which returns the exit code.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from typing import NoReturn

from . import user_errors
from .version import __version__

#: Name, module and what it is for.
COMMANDS = {
    'finetune': ('mmmaskany.experiments.finetune', 'train a network and MaskAny around it on your images, and compare'),
    'predict': (
        'mmmaskany.inference.prediction',
        'classes, boxes or label maps of images, by a network that was trained',
    ),
    'list': ('mmmaskany.hub.catalogue', 'the models of this project by their names'),
    'show': ('mmmaskany.analysis.model_card', 'what a model costs, what it masks and what was measured'),
    'export': ('mmmaskany.inference.exporting', 'a trained network as ONNX, or without its second stem'),
    'doctor': (
        'mmmaskany.environment',
        'one page on this environment: versions, and known traps with their fixes',
    ),
}

_EPILOG = '`mmmaskany COMMAND --help` says more and has an example. `--traceback` shows where an error comes from.'


def build_parser(name: str) -> argparse.ArgumentParser:
    """Build the parser of one command.

    Args:
        name (str): One of :data:`COMMANDS`.

    Returns:
        argparse.ArgumentParser: Its parser.
    """
    module = importlib.import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(
        prog=f'mmmaskany {name}', description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands.

    Args:
        argv (list[str] | None): The command line without the program. Defaults to None, that of the process.

    Returns:
        int: The exit code: 0, or 2 where the command line was wrong.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in COMMANDS:
        return importlib.import_module(COMMANDS[name][0]).main(build_parser(name).parse_args(rest))

    rows = '\n'.join(f'  {name:10}{text}' for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='mmmaskany',
        usage='mmmaskany COMMAND ...',
        description=f'Masked supervised training for images.\n\ncommands:\n{rows}',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmmaskany {__version__}')
    if not name.startswith('-'):
        alike = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f'; did you mean {alike[0]}?' if alike else ''
        parser.error(f'the command must be one of {", ".join(COMMANDS)}, but got {name}{hint}')
    parser.parse_args([name])
    return 0


def run() -> NoReturn:
    """Run the command line of the process: an error of the user's is one sentence, and exit code 2."""
    sys.argv[0] = 'mmmaskany'  # what errors call the program, as `python -m mmmaskany`, too
    try:
        code = user_errors.run(main)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print('mmmaskany: stopped; the same command goes on where it was', file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever reads it has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
