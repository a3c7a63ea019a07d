#!/usr/bin/env bash
# Train mini on a GPU from nothing, check it, and leave at most 8 files of at most 16 MiB in one flat folder.
#
#   tests/gpu/mini.sh WHEELS OUT [MINUTES [SPRITES [BASE]]]
#
# WHEELS   folder of wheels for what the machine lacks beside torch and transformers; nothing is downloaded. To fill it:
#            pip download -d WHEELS --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#              --platform manylinux2014_x86_64 diffusers 'huggingface_hub>=1.32,<2' safetensors filelock \
#              importlib_metadata numpy regex requests pillow msgspec tomli_w
#          (38 MB; transformers 5.17 needs huggingface_hub below 2, newer ones take it too.) `-` installs nothing.
# OUT      gets unet.tar and rest.tar (unpack both into one folder: the base), student.tar, sheets.tar, check.txt, log.csv
#          and run.log.
# MINUTES  of the whole run without the installing; 8.
# SPRITES  folder of sprites, seen beside figures; `-` is none. `python -m engine.mini.world.sprites DIR` fetches them.
# BASE     folder of a base to go on from; `-` starts from nothing.
#
# PRESET (gpu), DEVICE (cuda) and further FLAGS of the recipe come from the environment: PRESET=tiny DEVICE=cpu tries
# every line within a minute.
set -euo pipefail
absolute() { if [ "$1" = - ]; then echo -; else realpath -m "$1"; fi; }
wheels=$(absolute "$1") out=$(absolute "$2") minutes=${3:-8}
sprites=$(absolute "${4:--}") base=$(absolute "${5:--}")
cd "$(dirname "$0")/../.."
mkdir -p "$out"
work=$(mktemp -d)

collect() {  # whatever was made, also when the run was stopped
  cp "$work"/{check.txt,log.csv} "$out" 2>/dev/null || true
  (cd "$work" && tar -cf "$out/sheets.tar" -- *.png) || true
  [ ! -d "$work/student" ] || tar -C "$work" -cf "$out/student.tar" student
  if [ -d "$work/weights" ]; then
    tar -C "$work/weights" -cf "$out/unet.tar" unet
    tar -C "$work/weights" --exclude ./unet -cf "$out/rest.tar" .
  fi
  ls -l "$out"
}
trap collect EXIT

[ "$wheels" = - ] || python3 -m pip install --quiet --no-index --find-links "$wheels" diffusers 'huggingface_hub<2' \
  msgspec tomli_w pillow
more=()
[ "$sprites" = - ] || more+=(--sprites "$sprites")
[ "$base" = - ] || more+=(--from "$base")
# shellcheck disable=SC2086
HF_HUB_OFFLINE=1 python3 -m engine.mini.recipe.train --preset "${PRESET:-gpu}" --device "${DEVICE:-cuda}" \
  --minutes "$minutes" --out "$work" "${more[@]}" ${FLAGS:-} 2>&1 | tee "$out/run.log"
