"""Sprites are fetched whole or not at all."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from random import Random

import pytest

from engine.mini.world.sprites import fetch_sprites


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of two stills, which an `npm` on the path downloads; more than half of it is the second."""
    stills = tmp_path / "made" / "package" / "assets"
    stills.mkdir(parents=True)
    (stills / "a.webp").write_bytes(Random(0).randbytes(10_000))
    (stills / "b.webp").write_bytes(Random(1).randbytes(90_000))
    archive = tmp_path / "npm.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(stills / "a.webp", "package/assets/a.webp")
        tar.add(stills / "b.webp", "package/assets/b.webp")
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncp '{archive}' sprites.tgz\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return archive


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_sprites_that_were_unpacked_in_part_are_fetched_again(npm: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "sprites", npm.read_bytes()
    npm.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((EOFError, tarfile.TarError)):
        fetch_sprites(folder)
    assert names_in(folder) == []
    npm.write_bytes(whole)
    assert names_in(fetch_sprites(folder)) == ["a.webp", "b.webp"]
    assert names_in(folder) == ["package"]


def test_sprites_are_fetched_once_and_what_a_killed_fetch_left_is_removed(
    npm: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sprites"
    (folder / ".dv-0.part" / "package" / "assets").mkdir(parents=True)
    fetch_sprites(folder)
    npm.unlink()
    assert names_in(fetch_sprites(folder)) == ["a.webp", "b.webp"]
    assert names_in(folder) == ["package"]
