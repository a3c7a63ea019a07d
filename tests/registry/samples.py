"""Small real files: safetensors of a few numbers, with the facts that learning writes."""

from __future__ import annotations

import json
from typing import Any

from registry import Draft, read_draft

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def facts_of(kind: str = "subject", **changes: Any) -> dict[str, Any]:
    """What an adapter's file says of itself."""
    return {
        "schema": "dv.adapter/1",
        "method": "dreamvideo",
        "kind": kind,
        "base": {
            "id": "mini@1",
            "revision": "",
            "fingerprint": "ab" * 32,
            "licence": "Apache-2.0",
            "architecture": "unet3d/text8/image0",
        },
        "token": "<corgi>" if kind == "subject" else "",
        "phrase": "dog" if kind == "subject" else "skating away",
        "width_ratio": 0.5,
        "condition_width": None,
        "sites": [{"name": "a.b", "width": 2}, {"name": "c", "width": 4}],
        "recipe": {"steps": 200, "seed": 3, "mask": None},
        "inputs": [{"name": "one.jpg", "digest": "0f" * 32}],
        **changes,
    }


def small_draft() -> Draft:
    """The least that a subject's manifest says."""
    return read_draft(
        {
            "tool": "dv 0.1.0",
            "base": {"id": "mini@1", "fingerprint": "ab" * 32},
            "adapter": {"method": "dreamvideo", "dtype": "float32", "params": 4},
            "prompt": {"token": "<corgi>", "class_word": "dog"},
            "training": {"recipe": {}, "seed": 0, "inputs": []},
        }
    )


def safetensors(
    facts: dict[str, Any] | None = None, value: int = 0, header: dict[str, Any] | None = None
) -> bytes:
    """A file of two tensors; ``value`` makes it another one, ``header`` replaces entries."""
    table: dict[str, Any] = {
        "a.down": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "word.vector": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    }
    if facts is not None:
        table["__metadata__"] = {"dreamvideo": json.dumps(facts)}
    text = json.dumps({**table, **(header or {})}).encode()
    return len(text).to_bytes(8, "little") + text + value.to_bytes(16, "little")
