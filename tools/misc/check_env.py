# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Prints one page on this environment: versions, and every known trap with its fix.

What ``mmmaskany doctor`` prints; this also works before the package, or anything that it needs, is installed::

    python tools/misc/check_env.py
"""

import runpy
import sys
from pathlib import Path

FOLDERS = Path(__file__).resolve().parents
#: Beside tools/ in a checkout, above .mim in a wheel.
PACKAGE = next(path for path in (FOLDERS[2] / 'mmmaskany', FOLDERS[3]) if (path / 'version.py').is_file())

if __name__ == '__main__':
    sys.exit(runpy.run_path(str(PACKAGE / 'environment.py'))['main']())
