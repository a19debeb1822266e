# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Runs a tool and prints which threads are left when it has ended: ``end_of_run.py train CONFIG ...``."""

import importlib.util
import sys
from pathlib import Path

if __name__ == '__main__':
    path = Path(__file__).resolve().parents[2] / 'tools' / f'{sys.argv[1]}.py'
    spec = importlib.util.spec_from_file_location('tool', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(sys.argv[2:])
    names = [(task / 'comm').read_text().strip() for task in Path('/proc/self/task').iterdir()]
    print('threads left:', *sorted(names), flush=True)
