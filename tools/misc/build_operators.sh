#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Builds mmcv's operators again, with CUDA and for this GPU's architecture alone, where they are missing: on a machine
# without a GPU tools/install.sh builds them for the processor. It needs nvcc of the CUDA that torch was built with.
# Usage: bash tools/misc/build_operators.sh    (in an active environment)
set -euo pipefail

if python - <<'CHECK'; then
import torch
from mmcv.ops import nms
boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]], device='cuda')
assert len(nms(boxes, torch.tensor([0.9, 0.8], device='cuda'), 0.5)[1]) == 1
CHECK
  echo 'the operators run on this GPU'
  exit
fi
read -r name version < <(python - <<'INSTALLED'
from importlib.metadata import PackageNotFoundError, version
for name in ('mmcv', 'onedl-mmcv'):
    try:
        print(name, version(name))
        break
    except PackageNotFoundError:
        pass
INSTALLED
)
architecture="$(python -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')"
echo "building $name $version for compute capability $architecture ..."
MMCV_WITH_OPS=1 FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="$architecture" CFLAGS=-g0 MAX_JOBS="$(nproc)" \
  python -m pip install --no-build-isolation --no-deps --force-reinstall --no-cache-dir --no-binary "$name" "$name==$version"
