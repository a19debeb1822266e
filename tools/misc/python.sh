# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Sourced by the launch scripts: sets ROOT, the checkout or installed folder they lie in, and PYTHON, an interpreter
# that has MMEngine: the one in $PYTHON, `python`, or the one of the checkout's .venv.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

has_mmengine() {
    command -v "$1" >/dev/null &&
        "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("mmengine") is None)'
}

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python
    if ! has_mmengine "$PYTHON" && has_mmengine "$ROOT/.venv/bin/python"; then
        PYTHON="$ROOT/.venv/bin/python"
    fi
fi
if ! has_mmengine "$PYTHON"; then
    echo "error: a Python with MMEngine is needed, but '$PYTHON' has none: run 'bash tools/install.sh', or set PYTHON" >&2
    exit 1
fi
