#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Tries sets of libraries on versions of Python and torch, each in a fresh environment in a temporary folder, and prints
# a row of the table in docs/install.md for each.
set -euo pipefail

usage() {
  cat <<'EOT'
Usage: bash tools/misc/support_matrix.sh [--build-only] SET/PYTHON/TORCH ...

For example: bash tools/misc/support_matrix.sh originals/python3.11/2.11 onedl/python3.13/2.13

SET is originals or onedl, PYTHON an interpreter, TORCH a release of torch (2.11 stands for the newest 2.11.*), or newest.
Each cell runs tools/install.sh --current-env on an environment that has that torch, compiles mmcv anew, and then runs the
tests. A cell takes about 30 minutes and 10 GB, which are given back; TMPDIR says where.

  --build-only  do not run the tests: a row says "builds" where it would say "tests pass"
EOT
}

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
tests=true
case "${1:-}" in
  '' | -h | --help) usage; exit 0 ;;
  --build-only) tests=false; shift ;;
esac

work="$(mktemp -d "${TMPDIR:-/tmp}/mmmaskany-matrix.XXXXXX")"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND...: the output goes to the log; on failure $why says what failed and how the log ends.
step() {
  local name="$1"
  shift
  printf '== %s: %s\n' "$cell" "$*" >&2
  "$@" >"$work/log" 2>&1 && return
  why="$name: $({ [[ "$name" == install ]] && grep -E '^FAIL  ' "$work/log" || grep -E '^ERROR|Error:|^install.sh:|[0-9]+ failed' "$work/log" ||
    cat -- "$work/log"; } | tail -n 1 | tr '|' '/' | cut -c 1-160)"
  return 1
}

# What a cell comes to, step by step; sets $why where one fails.
try() {
  local hosts="$1" python="$2" torch="$3" venv="$work/venv"
  [[ "$torch" == newest ]] && torch=torch || torch="torch==$torch.*"
  rm -rf -- "$venv" "$work/tree" "$PIP_CACHE_DIR/wheels"
  # A copy, so that neither a .venv nor what tests leave behind in the repository has a say.
  mkdir -- "$work/tree"
  git -C "$root" ls-files -z | tar -C "$root" --null -T - -cf - | tar -C "$work/tree" -xf -
  step venv "$python" -m venv "$venv" || return
  export PATH="$venv/bin:$path" VIRTUAL_ENV="$venv"
  step torch python -m pip install "$torch" torchvision || return
  step install bash "$work/tree/tools/install.sh" --current-env --hosts "$hosts" || return
  ! $tests || step tests env -C "$work/tree" OMP_NUM_THREADS=1 \
    python -m pytest -q -n logical --maxprocesses 8 --dist loadfile
}

export PIP_CACHE_DIR="$work/cache" # its own, of which each cell takes away what the one before has compiled
path="$PATH" failed=0
echo '| libraries | Python | torch | |'
echo '| --- | --- | --- | --- |'
for cell in "$@"; do
  [[ "$cell" =~ ^(originals|onedl)/([^/]+|/.+)/([0-9]+\.[0-9]+|newest)$ ]] || { usage >&2; echo "no cell: $cell" >&2; exit 2; }
  hosts="${BASH_REMATCH[1]}" python="${BASH_REMATCH[2]}" torch="${BASH_REMATCH[3]}" why=''
  if try "$hosts" "$python" "$torch"; then
    verdict="$($tests && echo 'tests pass' || echo builds)"
  else
    verdict="fails: $why" failed=1
  fi
  version() { "$work/venv/bin/python" -c "$1" 2>/dev/null || echo "$2"; }
  echo "| $hosts | $(version 'import platform; print(platform.python_version())' "$python") |" \
    "$(version 'from importlib.metadata import version; print(version("torch"))' "$torch") | $verdict |"
done
exit "$failed"
