"""Encoded photos and clips: the same with and without, and whatever happens to the files."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import cache as cache_module
from engine.bases import BaseLocation, locate_base
from engine.cache import OLDEST_SECONDS, Cache
from engine.progress import Event, Note, ignore
from engine.training.saver import SavePolicy
from tests.engine.samples import clip, learn_motion, learn_subject, photo, photos
from tests.engine.test_learning import MOTION, SUBJECT
from tests.tiny import note_encodings

CPU = torch.device("cpu")
PIXELS = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the base was asked to encode."""
    return note_encodings(monkeypatch)


def learn(folder: Path, location: BaseLocation, cache: Path | None, seen=None) -> bytes:
    folder.mkdir()
    learned = learn_subject(
        SUBJECT, seen or photos(), location, folder, token="<corgi>", policy=SavePolicy(cache=cache)
    )
    return learned.weights.read_bytes()


def test_a_second_run_encodes_nothing_and_learns_the_same(
    tmp_path: Path, location: BaseLocation, encoded: list[str]
) -> None:
    plain = learn(tmp_path / "a", location, None)
    first = learn(tmp_path / "b", location, tmp_path / "cache")
    encoded.clear()
    assert learn(tmp_path / "c", location, tmp_path / "cache") == first == plain
    assert encoded == []


def test_one_changed_photo_encodes_one_photo(
    tmp_path: Path, location: BaseLocation, encoded: list[str]
) -> None:
    learn(tmp_path / "a", location, tmp_path / "cache")
    encoded.clear()
    members = (*photos().photos[:2], photo(9))
    learn(
        tmp_path / "b", location, tmp_path / "cache", dataclasses.replace(photos(), photos=members)
    )
    assert encoded == ["encode_video", "encode_image"]


def test_a_second_motion_run_encodes_nothing(
    tmp_path: Path, location: BaseLocation, encoded: list[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        policy = SavePolicy(cache=tmp_path / "cache")
        learn_motion(MOTION, [clip()], location, tmp_path / name, policy=policy)
    assert encoded == ["encode_video", "encode_image"]


def cache(folder: Path | None, told: list[Event] | None = None, **named) -> Cache:
    progress = ignore if told is None else told.append
    return Cache(folder, progress, owner=named.pop("owner", "base"), device=CPU, **named)


def values(held: Cache, *names: str) -> list[float]:
    """What the cache gives for each; computing gives 1, 2, 3 in turn."""
    counter = iter(range(1, 100))
    return [
        float(held.get(name, PIXELS, lambda: torch.full((2,), float(next(counter))))[0])
        for name in names
    ]


def test_a_key_is_what_of_which_pixels_by_which_base(tmp_path: Path) -> None:
    assert values(cache(tmp_path), "latents", "look", "latents") == [1, 2, 1]
    assert values(cache(tmp_path, owner="another"), "latents") == [1]
    assert cache(tmp_path).get("latents", PIXELS + 1, lambda: torch.tensor([7.0])) == 7


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_entry_is_computed_again_and_said(tmp_path: Path, damage: str) -> None:
    values(cache(tmp_path), "latents")
    (path,) = tmp_path.glob("??/*")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    bytes_of = {"cut": data[:-3], "flipped": data, "empty": b"", "other": b"\0" * 500}
    path.write_bytes(bytes_of[damage])
    told: list[Event] = []
    assert values(cache(tmp_path, told), "look", "latents") == [1, 2]
    assert "is damaged: encoding again" in told[0].text
    assert values(cache(tmp_path), "look", "latents") == [1, 2]


def test_a_disk_that_refuses_costs_time_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module, "save_file", full)
    told: list[Event] = []
    assert values(cache(tmp_path, told), "latents", "latents") == [1, 2]
    assert all(isinstance(event, Note) for event in told)
    assert not list(tmp_path.glob("??/*"))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    held = cache(tmp_path, limit_bytes=10**9)
    paths: dict[str, Path] = {}
    for name in "abc":
        values(held, name)
        (paths[name],) = set(tmp_path.glob("??/*")) - set(paths.values())
    for age, name in enumerate("cab"):
        used = time.time() - 1000 - age
        os.utime(paths[name], (used, used))
    values(held, "a")
    size = paths["a"].stat().st_size
    cache(tmp_path, limit_bytes=2 * size).prune()
    assert sorted(name for name, path in paths.items() if path.exists()) == ["a", "c"]
    cache(None).prune()


def test_what_was_not_used_for_months_goes(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    pixels = [np.full(3, number, np.uint8) for number in range(2)]
    for each in pixels:
        kept.get("prompt", each, lambda: torch.ones(3))
    paths = sorted(tmp_path.glob("??/*"))
    os.utime(paths[0], (0, time.time() - OLDEST_SECONDS - 9))
    kept.prune()
    assert sorted(tmp_path.glob("??/*")) == paths[1:]
