# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure what ``import mmmaskany`` costs beyond torch and MMEngine, and name what it imports.

    python tools/analysis_tools/benchmark_import.py

Each time is that of a fresh process which has imported both already.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MEASURE = """
import json, sys, time
import torch, mmengine

before, finders = set(sys.modules), list(sys.meta_path)
start = time.perf_counter()
import mmmaskany
seconds = time.perf_counter() - start
print(json.dumps(dict(
    seconds=seconds,
    modules=sorted(set(sys.modules) - before),
    finders=[repr(finder) for finder in sys.meta_path if finder not in finders],
)))
"""


def measure() -> dict:
    """Import mmmaskany once, in a fresh process.

    Returns:
        dict: The ``seconds`` that it took, and the ``modules`` and ``finders`` of modules that came with it.
    """
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))}
    done = subprocess.run([sys.executable, '-c', _MEASURE], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str] | None = None) -> None:
    """Print the times and the modules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=5, help='number of processes (default: 5)')
    args = parser.parse_args(argv)
    if args.repeat < 1:
        raise ValueError(f'--repeat must be at least 1, but got {args.repeat}')
    measure()  # writes bytecode, warms the disk
    found = [measure() for _ in range(args.repeat)]
    times = [one['seconds'] * 1e3 for one in found]
    print(f'import mmmaskany: {statistics.median(times):.1f} ms ({min(times):.1f} .. {max(times):.1f})')
    print(f'modules: {", ".join(found[0]["modules"])}')
    print(f'finders of modules: {", ".join(found[0]["finders"]) or "none"}')


if __name__ == '__main__':
    main(sys.argv[1:])
