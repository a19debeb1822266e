#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Stands in for the C++ compiler while tools/install.sh builds mmcv, whose setup.py cannot be told either of two things:
# that the headers of torch, four fifths of the work in each of its 77 files, can be compiled once for all of them; and
# that from torch 2.14 on they need C++20.
# Wants $REAL_CXX, the compiler, and $CXX_STANDARD, c++17 or c++20. Keeps the compiled headers beside itself.
set -euo pipefail

headers="$(dirname -- "$0")/torch_headers"
arguments=("${@/#-std=c++17/-std=$CXX_STANDARD}")

# Compiles the headers with the options of the call that came first. What is compiled meanwhile, and all if this fails,
# reads them as they are.
precompile() {
  local options=() skip=false argument
  for argument in "${arguments[@]}"; do
    if $skip; then skip=false; continue; fi
    case "$argument" in
      -o | -MF) skip=true ;;
      -c | -MMD | -MD | *.cpp | *.cc) ;;
      *) options+=("$argument") ;;
    esac
  done
  if $REAL_CXX "${options[@]}" -x c++-header "$headers/torch.h" -o "$headers/unfinished" 2>/dev/null; then
    mv -- "$headers/unfinished" "$headers/torch.h.gch"
  else
    rm -f -- "$headers/unfinished"
  fi
}

[[ " $* " == *' -c '* ]] || exec $REAL_CXX "${arguments[@]}"
if mkdir -- "$headers" 2>/dev/null; then
  echo '#include <torch/types.h>' >"$headers/torch.h"
  precompile
fi
exec $REAL_CXX "${arguments[@]}" -include "$headers/torch.h"
