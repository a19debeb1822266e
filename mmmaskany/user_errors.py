# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""An error that is the user's is one sentence; one of ours shows where it came from."""

import ast
import dis
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

_PACKAGE = Path(__file__).resolve().parent
#: Where a sentence that was raised is meant for a reader.
_OURS = (str(_PACKAGE) + os.sep, str(_PACKAGE.parent / 'tools') + os.sep)
#: What says that the program is wrong, whoever raises it.
_PROGRAM = (AssertionError, NotImplementedError, RecursionError)
#: How the error of a data loader's worker comes to the main process: its traceback is in the text.
_WORKER = re.compile(r'Caught \w+ in \w+ worker process \d+\.\nOriginal Traceback \(most recent call last\):\n')
_FRAME = re.compile(r'  File "(.+)", line \d+, in .+\n    (.*)\n')
_LAST = re.compile(r'^(?:[\w.]+\.)?[A-Z]\w+: ', re.MULTILINE)


def run(main: Callable[[list[str]], object], argv: Sequence[str] | None = None) -> int:
    """Run a tool, and say in one sentence what is wrong where that is the user's to mend.

    ``--traceback`` is taken out of the command line: with it, and for all other errors, the error goes on to Python,
    which shows where it was raised. See :func:`sentence` for whose an error is.

    Args:
        main (Callable): The tool: takes its arguments and returns an exit status; anything else is 0.
        argv (Sequence[str], optional): The command line. Defaults to None, which means ``sys.argv[1:]``.

    Returns:
        int: The exit status: that of ``main``, 2 for an error that is the user's.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    show_all = '--traceback' in argv
    argv = [argument for argument in argv if argument != '--traceback']
    try:
        status = main(argv)
        return status if isinstance(status, int) else 0  # some return what they made, for other scripts
    except Exception as error:
        said = None if show_all else sentence(error, argv)
        if said is None:
            raise
        print(f'{Path(sys.argv[0]).name}: error: {said} (--traceback shows where)', file=sys.stderr)
        return 2


def sentence(error: BaseException, argv: Sequence[str] = ()) -> str | None:
    """Return what to tell a user about an error that is theirs, None where it is not.

    It is theirs where mmmaskany or one of its tools raised it on purpose, in the main process or in a data loader's
    worker; and where a file is the problem and the command line names it.

    Args:
        error (BaseException): The error.
        argv (Sequence[str]): The command line. Defaults to ().

    Returns:
        str | None: The sentence.
    """
    if isinstance(error, _PROGRAM):
        return None
    text = str(error.args[0]) if len(error.args) == 1 else str(error)  # a KeyError would quote it
    if start := _WORKER.match(text):
        frames = list(_FRAME.finditer(text, start.end()))
        ours = frames and frames[-1][1].startswith(_OURS) and frames[-1][2].startswith('raise ')
        last = ours and _LAST.search(text, frames[-1].end())
        text = text[last.end() :].strip() if last else ''
        return (ast.literal_eval(text) if text[:1] in '\'"' and isinstance(error, KeyError) else text) or None
    if _raised_by_us(error.__traceback__):
        return text
    if isinstance(error, OSError) and any(_is_about(error, path) for path in _paths(argv)):
        return f'{error.strerror}: {error.filename}' if error.filename else str(error)
    return None


def _paths(argv: Sequence[str]) -> Iterator[str]:
    """Yield what may be a path in a command line: an argument, or what follows its ``=``."""
    for argument in argv:
        yield from {part for part in (argument, argument.partition('=')[2]) if len(part) > 1}


def _is_about(error: OSError, path: str) -> bool:
    """Tell whether a file error names a path, or what is below it: as its file, or in its text."""
    if isinstance(error.filename, str):
        return Path(os.path.abspath(error.filename)).is_relative_to(os.path.abspath(os.path.expanduser(path)))
    return re.search(rf'(?<![\w.-]){re.escape(path)}(?![\w-])', str(error)) is not None


def _raised_by_us(traceback: TracebackType | None) -> bool:
    """Tell whether the innermost frame is ours and stands at a ``raise``."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    code = traceback.tb_frame.f_code
    raises = dis.opname[code.co_code[traceback.tb_lasti]] == 'RAISE_VARARGS'
    return raises and os.path.realpath(code.co_filename).startswith(_OURS)
