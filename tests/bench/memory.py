"""Print what learning on ModelScopeT2V needs: ``python -m tests.bench.memory``; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from engine.bases.protocol import Role
from engine.training.footprint import Sizes
from engine.training.memory import estimate_base
from tests.modelscope import APPEARANCE_WIDTH, TEXT_TOWER_BYTES, open_hollow

GIB = 2**30
# 256 × 256 pixels: a batch of photos, and one clip of 16 frames.
BATCHES: Mapping[Role, Sizes] = {
    "identity": Sizes(4, 1, 256, 256),
    "motion": Sizes(1, 16, 256, 256),
}


def main() -> None:
    """One line for each role, with and without checkpointing."""
    base = open_hollow(half=True)
    print("ModelScopeT2V at 16 × 256², bf16, GiB estimated on the meta device")
    for role, sizes in BATCHES.items():
        tower = TEXT_TOWER_BYTES if role == "identity" else 0
        for checkpointing in (True, False):
            need = estimate_base(
                base, role, sizes, image_width=APPEARANCE_WIDTH, checkpointing=checkpointing
            )
            print(
                f"{role:9} checkpointing {'on ' if checkpointing else 'off'}"
                f"  base {(need.base + tower) / GIB:5.2f}  adapter {need.adapter / GIB:5.2f}"
                f"  activations {need.activations / GIB:5.2f}  total {(need.total + tower) / GIB:5.2f}"
            )


if __name__ == "__main__":
    main()
