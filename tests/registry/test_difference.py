"""Laws of differences between two adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry import Registry, read_draft


def test_an_adapter_does_not_differ_from_itself(store: Registry, publish) -> None:
    adapter = publish()
    assert store.diff(adapter, adapter) == ()


def test_settings_inputs_scores_and_files_are_compared(
    store: Registry, facts: dict[str, Any], weights: Path
) -> None:
    def put(data: bytes, **training: Any):
        weights.write_bytes(data)
        draft = read_draft(facts | {"training": {**facts["training"], **training}})
        return store.publish("subject", "corgi", draft, {"weights": weights})

    inputs = [{"name": "two.jpg", "digest": "1f" * 32}, {"name": "two.jpg", "digest": "2f" * 32}]
    left = put(b"1", metrics={"loss": 0.5})
    right = put(b"2", metrics={"loss": 0.25}, inputs=inputs, recipe={"steps": 300})
    found = {each.field: (each.left, each.right) for each in store.diff(left, right)}
    found.pop("created", None)
    assert found.pop("files.weights")[0] == store.manifest(left).files[0].digest
    assert found == {
        "training.recipe.steps": (200, 300),
        "training.recipe.rate": (1e-05, None),
        "training.metrics.loss": (0.5, 0.25),
        "training.inputs.one.jpg": ("0f" * 32, None),
        "training.inputs.two.jpg": (None, "1f" * 32),
        "training.inputs.two.jpg #2": (None, "2f" * 32),
    }
