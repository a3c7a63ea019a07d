#!/usr/bin/env bash
# Measure learning and generation at full size on a GPU; leaves full_size.md, full_size.json and run.log in OUT.
#
#   tests/gpu/full_size.sh WHEELS OUT [SECONDS]
#
# WHEELS   as for tests/gpu/mini.sh; `-` installs nothing.
# SECONDS  after which no row is begun; 200.
#
# `FLAGS='--tiny --device cpu' tests/gpu/full_size.sh - OUT` tries every line in seconds.
set -euo pipefail
wheels=$1; [ "$wheels" = - ] || wheels=$(realpath "$wheels")
seconds=${3:-200}
mkdir -p "$2"
out=$(realpath "$2")
[ "$wheels" = - ] || python3 -m pip install --quiet --no-index --find-links "$wheels" diffusers 'huggingface_hub<2' \
  msgspec tomli_w pillow
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2086
HF_HUB_OFFLINE=1 python3 -m tests.gpu.full_size --seconds "$seconds" --out "$out" ${FLAGS:-} 2>&1 | tee "$out/run.log"
cat "$out/full_size.md"
