#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Makes the site of the documentation, docs/_build/html, from the pages and the docstrings: less than a minute. Any
# warning, such as of a link or anchor that leads nowhere, is an error. Installs what is missing of requirements/docs.txt.
# Usage: bash tools/misc/build_docs.sh    (PYTHON=... names another interpreter than .venv's)
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/python.sh"
cd -- "$ROOT"

if ! "$PYTHON" -c 'import autoapi, furo, myst_parser, sphinx' 2>/dev/null; then
  echo 'Installing requirements/docs.txt (seconds) ...'
  "$PYTHON" -m pip install --quiet -r requirements/docs.txt
fi
echo 'Reading the pages and docstrings, checking links, writing docs/_build/html ...'
"$PYTHON" -m sphinx --quiet --fail-on-warning --keep-going -c docs . docs/_build/html
# The pages lie as their sources do; the site begins with docs/index.md.
echo '<meta http-equiv="refresh" content="0; url=docs/index.html">' >docs/_build/html/index.html
echo "Done in $SECONDS s: open docs/_build/html/index.html"
