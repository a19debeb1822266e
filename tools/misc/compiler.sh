#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Stands in for the C++ compiler while tools/install.sh builds mmcv, whose setup.py offers no option for either of two
# things: to compile the headers of torch, four fifths of the work in each of its 77 files, once for all of them; and to
# ask for C++20, which they need from torch 2.14 on.
# Wants $REAL_CXX, the compiler, and $CXX_STANDARD, c++17 or c++20. What it makes is beside it.
set -uo pipefail

here="$(dirname -- "$0")"
arguments=("${@/#-std=c++17/-std=$CXX_STANDARD}")

# Compiles the headers with the options of the call that came first, and tries the result. Files that are compiled in the
# meantime, or all of them if this fails, read the headers as usual.
precompile() {
  local options=() skip=false argument
  for argument in "${arguments[@]}"; do
    if $skip; then skip=false; continue; fi
    case "$argument" in
      -o | -MF) skip=true ;;
      -c | -MMD | -MD | [!-]*.cpp | [!-]*.cc | [!-]*.cxx) ;;
      *) options+=("$argument") ;;
    esac
  done
  mkdir -- "$here/trial" && cp -- "$here/torch.h" "$here/trial" &&
    $REAL_CXX "${options[@]}" -x c++-header "$here/trial/torch.h" -o "$here/trial/torch.h.gch" &&
    $REAL_CXX "${options[@]}" -include "$here/trial/torch.h" -fsyntax-only -x c++ /dev/null &&
    mv -- "$here/trial/torch.h.gch" "$here/torch.h.gch"
  rm -rf -- "$here/trial"
}

# What is not compiled against torch has nothing to do with mmcv.
if [[ " $* " == *' -c '* && " $* " == *torch/include* ]]; then
  ! mkdir -- "$here/first" 2>/dev/null || precompile >"$here/log" 2>&1
  arguments+=(-include "$here/torch.h")
fi
exec $REAL_CXX "${arguments[@]}"
