"""A registry in a temporary folder, and small adapters to put into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import Draft, Registry, open_registry, read_draft
from registry.content.record import Adapter
from tests.registry.samples import safetensors

Publish = Callable[..., Adapter]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing costs what the disk of this machine costs; tests that are about it patch it again."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def facts() -> dict[str, Any]:
    """A draft as plain data."""
    return {
        "tool": "dv 0.1.0",
        "base": {"id": "mini@1", "fingerprint": "ab" * 32, "licence": "Apache-2.0"},
        "adapter": {
            "method": "dreamvideo",
            "dtype": "float32",
            "params": 12,
            "sites": ["a.b", "c"],
            "widths": [2, 4],
        },
        "prompt": {"token": "<corgi>", "class_word": "dog"},
        "training": {
            "recipe": {"steps": 200, "rate": 1e-05},
            "seed": 0,
            "inputs": [{"name": "one.jpg", "digest": "0f" * 32}],
        },
    }


@pytest.fixture
def draft(facts: dict[str, Any]) -> Draft:
    return read_draft(facts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "registry"


@pytest.fixture
def store(root: Path) -> Registry:
    return open_registry(root)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights file"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def publish(store: Registry, draft: Draft, weights: Path) -> Publish:
    """Publish one more version, of other bytes each time."""
    count = iter(range(1_000))

    def publish_one(
        name: str = "corgi", kind: str = "subject", tags: tuple[str, ...] = ()
    ) -> Adapter:
        weights.write_bytes(safetensors(value=next(count)))
        return store.publish(kind, name, draft, {"weights": weights}, tags)

    return publish_one


@pytest.fixture
def in_child() -> Callable[[Callable[[], None]], int]:
    """Start a process that calls a function: 0 where it returned, 1 where it raised; returns its id."""

    def start(call: Callable[[], None]) -> int:
        child = os.fork()
        if child:
            return child
        try:
            call()
        except BaseException:  # noqa: BLE001 - whatever it is, the child must end here
            os._exit(1)
        os._exit(0)

    return start


@pytest.fixture
def exit_code() -> Callable[[int], int]:
    """Wait for a process and give its exit code."""
    return lambda child: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
