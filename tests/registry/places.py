"""Where things lie in a registry, for tests that damage them."""

from __future__ import annotations

from pathlib import Path

from registry import Kind, Registry
from registry.names.items import get_item
from registry.storage.layout import manifest_path, pointer_path


def item_of(store: Registry, name: str = "corgi", kind: Kind = "subject") -> Path:
    """The folder of the item that a name stands for."""
    return store.layout.root / get_item(store.layout, kind, name).path


def record_of(store: Registry, number: int, name: str = "corgi") -> Path:
    return item_of(store, name) / f"v{number}"


def log_of(store: Registry, name: str = "corgi") -> Path:
    return item_of(store, name) / "log.ndjson"


def pointer_of(store: Registry, name: str = "corgi") -> Path:
    return store.layout.root / pointer_path("subject", name)


def numbers_of(store: Registry, name: str = "corgi") -> list[int]:
    """The numbers of all versions, removed ones included."""
    return get_item(store.layout, "subject", name).numbers()


def manifest_of(store: Registry, digest: str) -> Path:
    return store.layout.root / manifest_path(digest)


def header_of(store: Registry) -> Path:
    return store.layout.root / "registry.toml"


def tmp_of(store: Registry) -> Path:
    return store.layout.root / "tmp"


def overwrite(path: Path, data: bytes) -> None:
    """Other bytes in a file that is finished, so read-only."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
