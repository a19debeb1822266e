#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# From a clean machine to a MaskAny backbone that was trained to classify real images and goes on to detect and segment.
# Run it again at any time: what is installed and what is written of the data stays, the results are made afresh.
set -euo pipefail

usage() {
  cat <<'EOT'
Usage: bash tools/quickstart.sh [--classification] [--hosts SET] [--current-env | --no-install]

Installs; writes scikit-learn's handwritten digits, alone and in scenes; trains MaskAny and its plain twin to classify
the digits; trains Mask R-CNN and Semantic FPN on the scenes, starting from MaskAny's checkpoint; tests all on held-out
digits, prints one table and draws what the masks do and what was found. After the install about four minutes on two CPU
cores.

  --classification  only the classifiers, with an install that needs no compiler (tools/install.sh --classification)
  --hosts SET    the set of libraries, as for tools/install.sh: originals or onedl
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
dense=true
hosts=()
while (($#)); do
  case "$1" in
    --hosts) [[ -n "${2:-}" ]] || die '--hosts needs originals or onedl'; hosts=(--hosts "$2"); shift ;;
    --hosts=*) hosts=("$1") ;;
    --current-env) install+=(--current-env) python=python ;;
    --no-install) install=() ;;
    --classification) dense=false ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done
((!${#install[@]})) || install+=(${hosts[@]+"${hosts[@]}"})
$dense || ((!${#install[@]})) || install+=(--classification)

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
written_lines() { sed -nu 's/^wrote /  wrote /p'; }

# One line per validation out of MMEngine's log; $name is that of the run.
progress() {
  local line at='' loss='' value
  while IFS= read -r line; do
    if [[ "$line" =~ (Epoch|Iter)\(train\)\ +\[\ *([0-9]+)[]/].*\ loss:\ ([0-9.]+) ]]; then
      at="${BASH_REMATCH[1],} ${BASH_REMATCH[2]}" loss="${BASH_REMATCH[3]}"
    elif [[ "$line" =~ (Epoch|Iter)\(val\)\ .*\ (accuracy/top1|coco/bbox_mAP|mIoU):\ ([0-9.]+) ]]; then
      value="${BASH_REMATCH[3]}"
      case "${BASH_REMATCH[2]}" in
        accuracy/top1) value="$(LC_ALL=C printf 'accuracy %.1f %%' "$value")" ;;
        coco/bbox_mAP) value="$(LC_ALL=C printf 'box AP %.1f %%' "${value}e2")" ;;
        mIoU) value="$(LC_ALL=C printf 'mIoU %.1f %%' "$value")" ;;
      esac
      printf '  %-12s  %-8s  loss %-7s  %s\n' "$name" "$at" "$loss" "$value"
    fi
  done
}

# train_and_test NAME CONFIG [OPTION...]: leaves the run in its own folder and its metrics in test.json there.
train_and_test() {
  local name="$1" config="$2" folder="$out/$1"
  shift 2
  rm -rf -- "$folder"
  logged "$name" progress "$python" -u tools/train.py "$config" --work-dir "$folder" "$@"
  logged "$name-test" no_lines "$python" -u tools/test.py "$config" "$(cat -- "$folder/last_checkpoint")" \
    --work-dir "$folder/test" --out "$folder/test.json" --out-item metrics
}

# Both cores: `begin COMMAND...` for each of several commands, then `finish`.
children=()
begin() {
  set -m # a process group of its own, so that stopping this script stops the training too
  "$@" &
  children+=($!)
  set +m
}
finish() {
  local index
  while ((${#children[@]})); do
    for index in "${!children[@]}"; do
      kill -0 "${children[index]}" 2>/dev/null && continue
      wait "${children[index]}" || exit 1 # the command said why
      unset "children[index]"
    done
    sleep 0.2
  done
}
stop() {
  local child
  for child in "${children[@]}"; do
    kill -- "-$child" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 130' INT TERM

if ((${#install[@]})); then
  head_line 'Installing'
  "${install[@]}"
  began=$SECONDS
elif [[ ! -x "$python" ]]; then
  python=python
fi

head_line 'Writing the digits'
logged digits all_lines "$python" tools/dataset_converters/digits.py

mask_any=configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py
plain=configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py
detector=configs/detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py
segmentor=configs/segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96.py

head_line "Training MaskAny and its plain twin to classify digits (logs: $out/{plain,MaskAny}.log)"
begin train_and_test plain "$plain"
begin train_and_test MaskAny "$mask_any"
finish

if $dense; then
  head_line "Training a detector and a segmentor from MaskAny's checkpoint (logs: $out/{detection,segmentation}.log)"
  start=("--cfg-options" "model.backbone.init_cfg.checkpoint=$(cat -- "$out/MaskAny/last_checkpoint")")
  begin train_and_test detection "$detector" "${start[@]}"
  begin train_and_test segmentation "$segmentor" "${start[@]}"
  finish
fi

head_line "Drawing what the masks do$($dense && echo ', and what was found in held-out scenes')"
if $dense; then
  for task in detection segmentation; do
    [[ "$task" == detection ]] && config="$detector" || config="$segmentor"
    begin logged "$task-pictures" written_lines "$python" tools/visualization/prediction_gallery.py "$config" \
      "$(cat -- "$out/$task/last_checkpoint")" --out "$out/$task.png"
  done
fi
begin logged masks written_lines "$python" tools/visualization/browse_masks.py "$mask_any" --out "$out/masks"
finish

head_line 'Results on the held-out digits'
runs=("plain=$out/plain" "MaskAny=$out/MaskAny") floors=(MaskAny=95)
pictures="$out/masks/*.png" folders='plain,MaskAny'
if $dense; then
  runs+=("MaskAny, Mask R-CNN=$out/detection" "MaskAny, Semantic FPN=$out/segmentation")
  floors+=('MaskAny, Mask R-CNN=40' 'MaskAny, Semantic FPN=50')
  pictures="$out/{detection,segmentation}.png, $pictures" folders+=,detection,segmentation
fi
status=0
"$python" -W ignore tools/analysis_tools/run_table.py "${runs[@]}" --out "$out/table.md" --at-least "${floors[@]}" ||
  status=$?
say
if ((status)); then
  die "something is wrong with this installation: these runs reach more elsewhere. Logs: $PWD/$out/*.log"
fi
say "Done in $((SECONDS - began)) s. Table: $out/table.md. Pictures: $pictures."
say "Runs: $out/{$folders}."
