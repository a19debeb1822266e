#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# From a clean machine to a trained MaskAny classifier on real images. Run it again at any time: what is installed and
# what is written of the data stays, the results are made afresh.
set -euo pipefail

usage() {
  cat <<'EOT'
Usage: bash tools/quickstart.sh [--current-env | --no-install]

Installs, writes scikit-learn's handwritten digits, trains MaskAny and its plain twin, tests both on the held-out
digits, prints one table and draws what the masks do. After the install about 80 seconds on two CPU cores.

  --current-env  install into the active environment and use it, as tools/install.sh does
  --no-install   use .venv as it is, or the active environment where there is none
  -h, --help     print this text

Everything is written to work_dirs/quickstart, the full output of each step to work_dirs/quickstart/*.log.
EOT
}

say() { printf '%s\n' "$*"; }
die() {
  printf 'quickstart.sh: %s\n' "$*" >&2
  exit 1
}

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
install=(bash tools/install.sh)
python=.venv/bin/python
for option in "$@"; do
  case "$option" in
    --current-env) install+=(--current-env) python=python ;;
    --no-install) install=() ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $option" ;;
  esac
done

out=work_dirs/quickstart
mkdir -p -- "$out" || die "cannot write to $PWD/$out"
# The networks are small: more threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
began=$SECONDS

# head_line TITLE
head_line() { printf '\n[%3d s] %s\n' $((SECONDS - began)) "$*"; }

# logged NAME FILTER COMMAND...: the command's output goes to NAME.log, what FILTER makes of its lines to the screen.
logged() {
  local name="$1" filter="$2" log="$out/$1.log"
  shift 2
  if ! "$@" 2>&1 | tee -- "$log" | "$filter"; then
    say
    say "The end of $PWD/$log:" >&2
    tail -n 20 -- "$log" >&2
    die "the step '$name' failed: $*"
  fi
}

all_lines() { sed -u 's/^/  /'; }
no_lines() { cat >/dev/null; }

# One line per epoch out of MMEngine's log.
epochs() {
  local line loss=''
  while IFS= read -r line; do
    if [[ "$line" =~ Epoch\(train\)\ .*\ loss:\ ([0-9.]+) ]]; then
      loss="${BASH_REMATCH[1]}"
    elif [[ "$line" =~ Epoch\(val\)\ +\[([0-9]+)\].*accuracy/top1:\ ([0-9.]+) ]]; then
      printf '  epoch %2d   loss %s   accuracy %8s %%\n' "${BASH_REMATCH[1]}" "$loss" "${BASH_REMATCH[2]}"
    fi
  done
}

# train_and_test NAME CONFIG: leaves the run in its own folder and its metrics in test.json there.
train_and_test() {
  local name="$1" config="$2" folder="$out/$1"
  rm -rf -- "$folder"
  head_line "Training $name (log: $out/$name.log)"
  logged "$name" epochs "$python" -u tools/train.py "$config" --work-dir "$folder"
  logged "$name-test" no_lines "$python" -u tools/test.py "$config" "$(cat -- "$folder/last_checkpoint")" \
    --work-dir "$folder/test" --out "$folder/test.json" --out-item metrics
}

if ((${#install[@]})); then
  head_line 'Installing'
  "${install[@]}"
  began=$SECONDS
elif [[ ! -x "$python" ]]; then
  python=python
fi

head_line 'Writing the digits'
logged digits all_lines "$python" tools/dataset_converters/digits.py

digits=1xb32-coslr-8e_digits.py
train_and_test plain "configs/maskany/resnet18-narrow_$digits"
train_and_test MaskAny "configs/maskany/maskany_resnet18-narrow_$digits"

head_line 'Drawing what the masks do'
logged gallery all_lines "$python" tools/visualization/mask_gallery.py "configs/maskany/maskany_resnet18-narrow_$digits" \
  --out "$out/mask_gallery.png"

head_line 'Results on the held-out digits'
status=0
"$python" tools/analysis_tools/run_table.py "plain=$out/plain" "MaskAny=$out/MaskAny" --at-least MaskAny=97 \
  --out "$out/table.md" || status=$?
say
if ((status)); then
  die "something is wrong with this installation: MaskAny learns these digits to 97 % or better. Logs: $PWD/$out/*.log"
fi
say "Done in $((SECONDS - began)) s. Table: $out/table.md. Picture: $out/mask_gallery.png. Runs: $out/{plain,MaskAny}."
