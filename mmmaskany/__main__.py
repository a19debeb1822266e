# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""``python -m mmmaskany`` is the command ``mmmaskany``."""

from .cli import run

if __name__ == '__main__':
    run()
