"""A registry of the first layout is read as it is, and moved over without loss."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from registry import (
    IntegrityError,
    NotFoundError,
    Registry,
    RegistryError,
    StorageError,
    open_registry,
)
from registry.maintenance.doctor import diagnose, repair
from registry.names import moving
from registry.storage.layout import HEADER
from tests.registry.samples import safetensors
from tests.registry.test_publish import KILLED, die_at

FILES: dict[str, str] = json.loads(Path(__file__).with_name("first_registry.json").read_text())


def write_first_registry(root: Path) -> None:
    """The registry as the last version of that layout wrote it."""
    for path, text in FILES.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for value in range(1, 7):
        data = safetensors(value=value)
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs/sha256" / digest[:2]).mkdir(parents=True, exist_ok=True)
        (root / "blobs/sha256" / digest[:2] / digest).write_bytes(data)
    (root / "tmp").mkdir()


@pytest.fixture
def store(root: Path) -> Registry:
    """corgi has v1 (good), v2 (removed, it was old) and v3 (best); rex was renamed to fido; the motion
    skate is best.
    """
    write_first_registry(root)
    return open_registry(root)


def answers(store: Registry) -> dict[str, Any]:
    """What a user can ask."""
    rows = store.list(all_versions=True)
    with pytest.raises(NotFoundError) as gone:
        store.resolve("rex")
    return {
        "rows": [(str(row), row.tags) for row in rows.rows],
        "problems": rows.problems,
        "removed": [
            (row.version, row.record.removed.tags)
            for row in store.list(removed=True).rows
            if row.record.removed
        ],
        "files": [sorted(store.files(row)) for row in rows.rows],
        "best": store.resolve("corgi:best").version,
        "rex": gone.value.hint,
        "next": [store.next_version("subject", name) for name in ("corgi", "rex", "fido", "new")],
        "log": {name: store.log(name, "subject") for name in ("corgi", "fido")},
        "then": store.places_at("corgi", "subject", datetime(2026, 1, 5, 12, 9, tzinfo=UTC)),
        "verified": store.verify(),
    }


def tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_is_read_as_it_is(store: Registry, root: Path) -> None:
    before = tree(root)
    found = answers(store)
    assert [(row[0].partition("@")[0], row[1]) for row in found["rows"]] == [
        ("corgi:v1", ("good",)),
        ("corgi:v3", ("best",)),
        ("fido:v1", ()),
        ("fido:v2", ()),
        ("skate:v1", ("best",)),
    ]
    assert found["removed"] == [(2, ["old"])]
    assert (found["best"], found["rex"]) == (3, "it was renamed: write fido")
    assert found["next"] == [4, 3, 3, 1]
    assert [(each.event, each.version) for each in found["log"]["corgi"]] == [
        ("publish", 1),
        ("publish", 2),
        ("tag", 2),
        ("publish", 3),
        ("tag", 1),
        ("tag", 3),
        ("tag", 2),
        ("untag", 2),
        ("remove", 2),
    ]
    assert [each.event for each in found["log"]["fido"]] == ["publish", "publish", "rename"]
    assert found["then"] == {"latest": 3, "prev": 2, "best": 3, "good": 1, "old": 2}
    assert found["verified"].findings == ()
    assert diagnose(store.layout) == ()
    assert store.find_garbage().files == ()
    assert tree(root) == before


def test_the_first_write_moves_it_over_and_nothing_is_lost(
    store: Registry, root: Path, draft, weights: Path
) -> None:
    before = answers(store)
    store.check_publish("subject", "corgi")
    assert answers(store) == before
    assert not (root / "names").exists()
    assert not (root / "renamed").exists()
    assert (root / "registry.toml").read_bytes() == HEADER
    assert diagnose(store.layout) == ()
    assert len(list((root / "aside").glob("renamed-*/subject/*"))) == 1
    restored = store.restore("corgi:v2")
    assert (restored.tags_back, restored.tags_elsewhere) == (("old",), ())
    store.rename("fido", "rex", "subject")
    assert store.publish("subject", "rex", draft, {"weights": weights}).version == 3
    assert store.publish("subject", "fido", draft, {"weights": weights}).version == 4
    assert store.log("corgi", "subject")[-1].event == "restore"
    assert store.verify().findings == ()


def test_wherever_the_move_is_cut_short_it_is_the_same_registry(
    store: Registry, root: Path, in_child, exit_code
) -> None:
    before = answers(store)
    for step in count():

        def move_until_death(step: int = step) -> None:
            die_at(step)
            moving.make_writable(store.layout)

        code = exit_code(in_child(move_until_death))
        assert answers(store) == before
        assert store.find_garbage().files == ()
        if code == 0:
            break
        assert code == KILLED
    assert step > 3
    assert not (root / "names").exists()


def test_two_processes_may_move_it_at_once(store: Registry, in_child, exit_code) -> None:
    before = answers(store)
    children = [in_child(lambda: moving.make_writable(store.layout)) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    assert answers(store) == before


def test_what_an_older_version_writes_afterwards_is_told(store: Registry, root: Path) -> None:
    moving.make_writable(store.layout)
    folder = root / "names/subject/corgi"
    folder.mkdir(parents=True)
    (folder / "v1").write_text(FILES["names/subject/corgi/v1"])
    (found,) = diagnose(store.layout)
    assert (found.finding.code, found.finding.where) == (
        "registry.foreign",
        "names/subject/corgi",
    )
    with pytest.raises(IntegrityError, match="may hold versions"):
        store.find_garbage()
    store.tag("corgi:v1", "kept")
    assert store.resolve("corgi:kept").version == 1


def test_a_header_that_is_lost_costs_nothing(store: Registry, root: Path) -> None:
    before = answers(store)
    (root / "registry.toml").unlink()
    assert answers(open_registry(root)) == before
    repair(store.layout, diagnose(store.layout))
    assert answers(store) == before
    assert not (root / "names").exists()


def test_a_tag_whose_line_is_damaged_is_unknown_before_and_after(
    store: Registry, root: Path
) -> None:
    path = root / "names/subject/corgi/tags/best"
    path.write_bytes(path.read_bytes().replace(b'"version":3', b'"version":1'))
    good = root / "names/subject/corgi/tags/good"
    late = '{"at":"2026-01-05T12:30:00.000000Z","id":"ab","version":3,"expect":2}'
    good.write_bytes(good.read_bytes() + f"\n{late}\n".encode())  # it came too late to count
    (root / "names/subject/corgi/tags/torn").mkdir()
    for _ in range(2):
        with pytest.raises(IntegrityError) as caught:
            store.resolve("corgi:best")
        assert caught.value.code == "tag.damaged"
        assert store.resolve("corgi:good").version == 1
        assert [each.where for each in store.verify().findings] == [
            "subject/corgi:best",
            "subject/corgi:torn",
        ]
        moving.make_writable(store.layout)
    store.tag("corgi:v3", "best", move=True)
    assert store.resolve("corgi:best").version == 3


def test_a_tag_on_a_version_whose_removal_was_cut_short_comes_back_with_it(
    store: Registry, root: Path
) -> None:
    path = root / "names/subject/corgi/tags/old"
    path.write_bytes(b"\n\n".join(path.read_bytes().split(b"\n\n")[:1]) + b"\n")
    assert store.verify().findings == ()
    assert "old" not in store.tags("subject", "corgi")
    assert store.restore("corgi:v2").tags_back == ("old",)


@pytest.mark.parametrize("state", ["begun", "damaged"])
def test_numbers_of_an_old_name_are_known_whatever_became_of_its_lines(
    store: Registry, root: Path, state: str
) -> None:
    path = root / "renamed/subject/rex"
    lines = path.read_bytes().split(b"\n\n")
    if state == "begun":
        path.write_bytes(lines[0] + b"\n")
    else:
        path.write_bytes(path.read_bytes().replace(b'"last":2', b'"last":1'))
    for _ in range(2):
        assert store.next_version("subject", "rex") == 3
        with pytest.raises(NotFoundError) as caught:
            store.resolve("rex")
        assert caught.value.hint == "it was renamed: write fido"
        moving.make_writable(store.layout)


def test_a_renaming_that_failed_gave_nothing_away(store: Registry, root: Path) -> None:
    path = root / "renamed/subject/rex"
    text = FILES["renamed/subject/rex"].replace('"to":"fido"', '"to":"nobody"')
    lines = [json.loads(line) for line in text.split()]
    for line in lines:
        del line["sum"]
    lines[-1]["state"] = "failed"
    path.write_text("".join(f"\n{json.dumps(line)}\n" for line in lines))
    log = root / "names/subject/fido/log.ndjson"
    told = [line for line in log.read_bytes().split(b"\n\n") if b'"rename"' not in line]
    log.write_bytes(b"\n\n".join(told))
    with pytest.raises(NotFoundError) as caught:
        store.resolve("rex")
    assert caught.value.hint == "dv subject list shows what there is"
    assert store.next_version("subject", "rex") == 3


def test_a_renaming_that_failed_is_not_told(store: Registry, root: Path) -> None:
    """Its line stayed in the log of the versions that did not go."""
    path = root / "names/subject/fido/log.ndjson"
    line = json.dumps({"at": "2026-01-05T12:16:30Z", "event": "rename", "old": "rex", "new": "max"})
    path.write_bytes(path.read_bytes() + f"\n{line}\n".encode())
    for _ in range(2):
        told = [(each.event, each.new) for each in store.log("fido", "subject")]
        assert told == [("publish", None), ("publish", None), ("rename", "fido")]
        moving.make_writable(store.layout)


def test_a_damaged_version_is_one_problem(store: Registry, root: Path) -> None:
    (root / "names/subject/corgi/v1").write_bytes(b"{}\n")
    for _ in range(2):
        listing = store.list(all_versions=True)
        assert [row.version for row in listing.rows if row.name == "corgi"] == [3]
        assert len(listing.problems) == 1
        with pytest.raises(RegistryError):
            store.find_garbage()
        moving.make_writable(store.layout)
    repair(store.layout, diagnose(store.layout))
    assert store.resolve("corgi:v1").tags == ("good",)


def test_a_disk_that_refuses_the_move_says_so(store: Registry, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = answers(store)
    moving.make_root(store.layout)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(StorageError, match="No space left"):
            store.tag("corgi:v1", "best", move=True)
    assert answers(store) == before
