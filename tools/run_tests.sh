#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Lint, format, types and tests, as CI runs them. Installs what is missing first.
# Usage: bash tools/run_tests.sh [--current-env] [--hosts SET] [pytest arguments]    (tests/test_masking, -x ...)
# The two options are those of tools/install.sh.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

install=() py=.venv/bin/python
while (($#)); do
  case "$1" in
    --current-env) install+=(--current-env) py="$(command -v python || command -v python3)" ;;
    --hosts) install+=(--hosts "${2:?--hosts needs originals or onedl}"); shift ;;
    --hosts=*) install+=("$1") ;;
    *) break ;;
  esac
  shift
done
bash tools/install.sh ${install[@]+"${install[@]}"}

# One thread per process: the tests are small, and their processes share the cores.
export OMP_NUM_THREADS=1
(($#)) || set -- -n logical --maxprocesses 8 --dist loadfile

status=0
echo 'ruff check ...' && "$py" -m ruff check . || status=1
echo 'ruff format --check ...' && "$py" -m ruff format --check . || status=1
echo 'mypy ...' && "$py" -m mypy || status=1
echo 'pytest ...' && "$py" -m pytest "$@" || status=1
exit "$status"
