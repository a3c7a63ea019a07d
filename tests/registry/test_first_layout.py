"""A registry of the first layout is moved over by whoever opens it, without loss."""

from __future__ import annotations

import errno
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
from registry.storage.files import Files
from registry.storage.layout import HEADER, Layout, make_root
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
def first(root: Path) -> Path:
    """corgi has v1 (good), v2 (removed, it was old) and v3 (best); rex was renamed to fido; the motion
    skate is best.
    """
    write_first_registry(root)
    return root


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


def test_nothing_is_lost(first: Path) -> None:
    store = open_registry(first)
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


def test_it_goes_on_as_a_registry_of_the_present_layout(first: Path, draft, weights: Path) -> None:
    store = open_registry(first)
    assert not (first / "names").exists()
    assert not (first / "renamed").exists()
    assert (first / "registry.toml").read_bytes() == HEADER
    assert len(list((first / "aside").glob("renamed-*/subject/*"))) == 1
    restored = store.restore("corgi:v2")
    assert (restored.tags_back, restored.tags_elsewhere) == (("old",), ())
    store.rename("fido", "rex", "subject")
    assert store.publish("subject", "rex", draft, {"weights": weights}).version == 3
    assert store.publish("subject", "fido", draft, {"weights": weights}).version == 4
    assert store.log("corgi", "subject")[-1].event == "restore"
    assert store.verify().findings == ()


def test_wherever_the_move_is_cut_short_the_next_goes_on(
    tmp_path: Path, in_child, exit_code
) -> None:
    write_first_registry(tmp_path / "whole")
    whole = answers(open_registry(tmp_path / "whole"))
    for step in count(0, 4):  # the sweep of `tests.stress` tries every one
        root = tmp_path / str(step)
        write_first_registry(root)

        def move_until_death(step: int = step, root: Path = root) -> None:
            die_at(step)
            open_registry(root)

        code = exit_code(in_child(move_until_death))
        store = open_registry(root)
        assert answers(store) == whole
        assert store.find_garbage().files == ()
        if code == 0:
            break
        assert code == KILLED
    assert step > 3


def test_two_processes_may_move_it_at_once(
    first: Path, tmp_path: Path, in_child, exit_code
) -> None:
    write_first_registry(tmp_path / "whole")
    children = [in_child(lambda: open_registry(first)) for _ in range(4)]
    assert [exit_code(child) for child in children] == [0] * 4
    assert answers(open_registry(first)) == answers(open_registry(tmp_path / "whole"))


def test_a_name_that_two_processes_wrote_down_leads_to_one_item(first: Path) -> None:
    before = answers(open_registry(first))
    for path in (first / "pointers").rglob("*/*"):
        path.write_bytes(path.read_bytes() * 2)
    assert answers(open_registry(first)) == before


def test_what_an_older_version_writes_afterwards_gets_a_name(first: Path) -> None:
    """It was at work while the registry was moved over."""
    open_registry(first)
    folder = first / "names/subject/corgi"
    folder.mkdir(parents=True)
    (folder / "v1").write_text(FILES["names/subject/corgi/v1"])
    store = open_registry(first)
    (found,) = store.verify().findings
    assert found.code == "name.lost"
    repair(store.layout, diagnose(store.layout))
    names = [row.name for row in store.list("subject").rows]
    assert names[:2] == ["corgi", "fido"]
    assert names[2].startswith("lost-")
    assert store.verify().findings == diagnose(store.layout) == ()


@pytest.mark.parametrize("path", ["names/subject/corgi/log.ndjson", "renamed/subject/corgi"])
def test_what_cannot_be_read_is_told_and_nothing_else_is_answered(first: Path, path: str) -> None:
    """A name that is passed over would be free, and its numbers used again."""
    whole = (first / path).read_bytes() if (first / path).exists() else None
    (first / path).unlink(missing_ok=True)
    os.mkfifo(first / path)
    for _ in range(2):
        with pytest.raises(StorageError, match=f"{path}: it is no regular file"):
            open_registry(first)
    assert path in diagnose(Layout(first))[0].message
    (first / path).unlink()
    if whole:
        (first / path).write_bytes(whole)
    store = open_registry(first)
    assert [row.version for row in store.list("subject", "corgi", all_versions=True).rows] == [1, 3]
    assert store.resolve("corgi:best").version == 3
    assert store.verify().findings == diagnose(store.layout) == ()


def test_links_and_what_is_no_name_stay_and_are_told(first: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "corgi").mkdir(parents=True)
    (outside / "corgi/log.ndjson").write_text("mine\n")
    (first / "names/subject/evil").symlink_to(outside / "corgi")
    (first / "names/subject/No Name").mkdir()
    store = open_registry(first)
    assert [row.name for row in store.list("subject").rows] == ["corgi", "fido"]
    assert store.verify().findings == ()
    assert {(each.code, each.where) for each in diagnose(store.layout)} == {
        ("registry.linked", "names/subject/evil"),
        ("registry.foreign", "names"),
    }
    with pytest.raises(IntegrityError, match="may hold versions"):
        store.find_garbage()
    assert (outside / "corgi/log.ndjson").read_text() == "mine\n"


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC])
def test_a_move_that_the_disk_refuses_halfway_is_no_empty_registry(
    first: Path, monkeypatch, error: int
) -> None:
    make_root(Layout(first))  # the header is written, and then the disk refuses
    append = Files.append

    def refuse(files: Files, path: str, line: bytes) -> None:
        if path.startswith("pointers/subject/fido"):
            raise OSError(error, os.strerror(error))
        append(files, path, line)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "append", refuse)
        with pytest.raises(StorageError, match=os.strerror(error)):
            open_registry(first)
    assert open_registry(first).resolve("corgi:best").version == 3


def test_the_doctor_moves_it_over(first: Path, tmp_path: Path) -> None:
    write_first_registry(tmp_path / "whole")
    assert diagnose(Layout(first)) == ()
    assert answers(open_registry(first)) == answers(open_registry(tmp_path / "whole"))


@pytest.mark.parametrize("header", [None, b"what?"])
def test_a_header_that_is_lost_costs_nothing(
    first: Path, tmp_path: Path, header: bytes | None
) -> None:
    write_first_registry(tmp_path / "whole")
    (first / "registry.toml").unlink()
    if header:
        (first / "registry.toml").write_bytes(header)
        with pytest.raises(IntegrityError):
            open_registry(first)
        repair(Layout(first), diagnose(Layout(first)))
    store = open_registry(first)
    assert answers(store) == answers(open_registry(tmp_path / "whole"))
    assert diagnose(store.layout) == ()


def test_a_tag_whose_line_is_damaged_is_unknown(first: Path) -> None:
    path = first / "names/subject/corgi/tags/best"
    path.write_bytes(path.read_bytes().replace(b'"version":3', b'"version":1'))
    good = first / "names/subject/corgi/tags/good"
    late = '{"at":"2026-01-05T12:30:00.000000Z","id":"ab","version":3,"expect":2}'
    good.write_bytes(good.read_bytes() + f"\n{late}\n".encode())  # it came too late to count
    (first / "names/subject/corgi/tags/torn").mkdir()
    store = open_registry(first)
    with pytest.raises(IntegrityError) as caught:
        store.resolve("corgi:best")
    assert caught.value.code == "tag.damaged"
    assert store.resolve("corgi:good").version == 1
    assert [each.where for each in store.verify().findings] == [
        "subject/corgi:best",
        "subject/corgi:torn",
    ]
    store.tag("corgi:v3", "best", move=True)
    assert store.resolve("corgi:best").version == 3


def test_a_tag_on_a_version_whose_removal_was_cut_short_comes_back_with_it(first: Path) -> None:
    path = first / "names/subject/corgi/tags/old"
    path.write_bytes(b"\n\n".join(path.read_bytes().split(b"\n\n")[:1]) + b"\n")
    store = open_registry(first)
    assert store.verify().findings == ()
    assert "old" not in store.tags("subject", "corgi")
    assert store.restore("corgi:v2").tags_back == ("old",)


@pytest.mark.parametrize("state", ["begun", "damaged"])
def test_numbers_of_an_old_name_are_known_whatever_became_of_its_lines(
    first: Path, state: str
) -> None:
    path = first / "renamed/subject/rex"
    lines = path.read_bytes().split(b"\n\n")
    if state == "begun":
        path.write_bytes(lines[0] + b"\n")
    else:
        path.write_bytes(path.read_bytes().replace(b'"last":2', b'"last":1'))
    store = open_registry(first)
    assert store.next_version("subject", "rex") == 3
    with pytest.raises(NotFoundError) as caught:
        store.resolve("rex")
    assert caught.value.hint == "it was renamed: write fido"


def test_a_renaming_that_failed_gave_nothing_away(first: Path) -> None:
    path = first / "renamed/subject/rex"
    text = FILES["renamed/subject/rex"].replace('"to":"fido"', '"to":"nobody"')
    lines = [json.loads(line) for line in text.split()]
    for line in lines:
        del line["sum"]
    lines[-1]["state"] = "failed"
    path.write_text("".join(f"\n{json.dumps(line)}\n" for line in lines))
    log = first / "names/subject/fido/log.ndjson"
    told = [line for line in log.read_bytes().split(b"\n\n") if b'"rename"' not in line]
    log.write_bytes(b"\n\n".join(told))
    store = open_registry(first)
    with pytest.raises(NotFoundError) as caught:
        store.resolve("rex")
    assert caught.value.hint == "dv subject list shows what there is"
    assert store.next_version("subject", "rex") == 3


def test_a_renaming_that_failed_is_not_told(first: Path) -> None:
    """Its line stayed in the log of the versions that did not go."""
    path = first / "names/subject/fido/log.ndjson"
    line = json.dumps({"at": "2026-01-05T12:16:30Z", "event": "rename", "old": "rex", "new": "max"})
    path.write_bytes(path.read_bytes() + f"\n{line}\n".encode())
    told = [(each.event, each.new) for each in open_registry(first).log("fido", "subject")]
    assert told == [("publish", None), ("publish", None), ("rename", "fido")]


def test_a_damaged_version_is_one_problem(first: Path) -> None:
    (first / "names/subject/corgi/v1").write_bytes(b"{}\n")
    store = open_registry(first)
    listing = store.list(all_versions=True)
    assert [row.version for row in listing.rows if row.name == "corgi"] == [3]
    assert len(listing.problems) == 1
    with pytest.raises(RegistryError):
        store.find_garbage()
    repair(store.layout, diagnose(store.layout))
    assert store.resolve("corgi:v1").tags == ("good",)


def test_a_disk_that_refuses_the_move_says_so(first: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(StorageError, match="No space left"):
            open_registry(first)
    assert open_registry(first).resolve("corgi:best").version == 3
