"""The verbs that subjects and motions share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from registry import open_registry
from tests.cli.conftest import Dv, Put
from tests.registry.places import record_of


def test_an_empty_list_is_empty_on_stdout(dv: Dv) -> None:
    assert dv("subject", "list").out == ""
    assert dv("subject", "list", "--json").document == []
    assert dv("subject", "list", "-q").out == ""


def test_a_list_shows_the_latest_of_each_name(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi", tags=["best"])
    put("skate", "motion")
    head, row = dv("subject", "list").out.splitlines()
    assert head.split() == ["NAME", "VERSION", "TAGS", "CLASS", "BASE", "SIZE", "CREATED"]
    assert row.split()[:5] == ["corgi", "v2", "best", "dog", "plain"]
    assert "skating away" in dv("motion", "list").out


def test_a_list_fits_eighty_columns(dv: Dv, put: Put) -> None:
    put("a-rather-long-name", tags=["best"])
    assert max(map(len, dv("subject", "list").out.splitlines())) <= 80


def test_quiet_lists_are_bare_names(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi")
    put("teabox")
    assert dv("subject", "list", "-q").out == "corgi\nteabox\n"
    versions = dv("subject", "list", "--all-versions", "-q").out.split()
    assert versions == ["corgi:v1", "corgi:v2", "teabox:v1"]
    assert dv("subject", "list", "t*", "-q").out == "teabox\n"


def test_a_list_as_json_has_a_schema_a_row(dv: Dv, put: Put) -> None:
    adapter = put("corgi", note="first try")
    (row,) = dv("subject", "list", "--json").document
    assert row["schema"] == "dv.adapter/1"
    assert row["ref"] == str(adapter)
    assert (row["token"], row["class_word"], row["note"]) == ("<corgi>", "dog", "first try")


def test_what_a_list_cannot_read_is_said(dv: Dv, put: Put, home: Path) -> None:
    put("corgi")
    put("teabox")
    record = record_of(open_registry(home / "registry"), 1, "corgi")
    record.chmod(0o644)
    record.write_text("{")
    record.chmod(0o444)
    result = dv("subject", "list", "-q")
    assert result.out == "teabox\n"
    assert "warning" in dv("subject", "list").err


def test_show_tells_what_it_was_learned_from(dv: Dv, put: Put) -> None:
    put("corgi", note="first try")
    shown = dv("subject", "show", "corgi").out
    assert all(word in shown for word in ("corgi:v1", "<corgi>", "one.jpg", "first try", "0.125"))
    document = dv("subject", "show", "corgi", "--json").document
    assert document["schema"] == "dv.adapter/1"
    assert document["training"]["recipe"]["steps"] == 3
    assert document["base"]["licence"] == "Apache-2.0"


def test_what_a_stranger_wrote_moves_no_cursor(dv: Dv, put: Put) -> None:
    put("skate", "motion", caption="\x1b[2Jgone\u202e")
    for verb in (("list",), ("show", "skate")):
        assert "\x1b" not in dv("motion", *verb).out
        assert "\u202e" not in dv("motion", *verb).out


def test_tag_and_untag_print_the_version_they_touched(dv: Dv, put: Put) -> None:
    first, second = put("corgi"), put("corgi")
    assert dv("subject", "tag", "corgi:v1", "best").out == f"{first}\n"
    assert dv("subject", "tag", "corgi:v2", "best").code == 4
    moved = dv("subject", "tag", "corgi:v2", "best", "--move")
    assert moved.out == f"{second}\n"
    assert "was on v1" in moved.err
    assert dv("subject", "tag", "corgi:v1", "best", "--if-at", "corgi:v1").code == 4
    assert dv("subject", "untag", "corgi:best").out == f"{second}\n"
    assert dv("subject", "show", "corgi:best").code == 3


def test_removing_a_plain_version_asks_nothing_and_can_be_undone(dv: Dv, put: Put) -> None:
    adapter = put("corgi")
    put("corgi")
    removed = dv("subject", "rm", "corgi:v1")
    assert removed.out == f"{adapter}\n"
    assert "dv subject restore corgi:v1" in removed.err
    assert dv("subject", "show", "corgi:v1").code == 3
    assert dv("subject", "list", "--removed", "-q").out == "corgi:v1\n"
    assert dv("subject", "restore", "corgi:v1").out == f"{adapter}\n"
    assert dv("subject", "show", "corgi:v1").code == 0


def test_removing_a_tagged_version_wants_a_yes(dv: Dv, put: Put) -> None:
    put("corgi", tags=["best"])
    refused = dv("subject", "rm", "corgi:v1", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert refused.error["code"] == "usage.consent"
    assert dv("subject", "rm", "corgi:v1", "-y").code == 0


def test_restore_gives_the_tags_back(dv: Dv, put: Put) -> None:
    put("corgi", tags=["best", "first"])
    put("corgi")
    dv("subject", "rm", "corgi:v1", "-y")
    dv("subject", "tag", "corgi:v2", "best")
    restored = dv("subject", "restore", "corgi:v1")
    assert "corgi:best is on another version" in restored.err
    assert dv("subject", "show", "corgi:first", "--json").document["version"] == 1


def test_restoring_what_was_never_removed_says_so(dv: Dv, put: Put) -> None:
    put("corgi")
    restored = dv("subject", "restore", "corgi:v1")
    assert (restored.code, restored.out.count("corgi:v1@")) == (0, 1)
    assert "corgi:v1 was not removed" in restored.err


def test_a_bare_name_is_not_removed(dv: Dv, put: Put) -> None:
    put("corgi")
    refused = dv("subject", "rm", "corgi")
    assert refused.code == 2
    assert all(choice in refused.err for choice in ("corgi:v1", "corgi:latest", "--all"))


def test_a_whole_name_goes_with_all_and_yes(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi")
    assert dv("subject", "rm", "corgi", "--all").code == 2
    planned = dv("subject", "rm", "corgi", "--all", "-n", "--json").document
    assert len(planned) == 2
    assert dv("subject", "list", "-q").out == "corgi\n"
    assert len(dv("subject", "rm", "corgi", "--all", "-y").out.splitlines()) == 2
    assert dv("subject", "list", "-q").out == ""


def test_on_a_terminal_a_removal_is_asked_for(
    dv: Dv, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("corgi", tags=["best"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked: list[str] = []

    def confirm(text: str, **_options: object) -> None:
        asked.append(text)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", confirm)
    assert dv("subject", "rm", "corgi:v1").code == 2
    assert asked == ["remove corgi:v1 (best)?"]
    assert dv("subject", "rm", "corgi:v1", "--no-input").code == 2
    assert len(asked) == 1


def test_path_prints_the_verified_file(dv: Dv, put: Put) -> None:
    put("corgi", data=b"weights 0")
    path = Path(dv("subject", "path", "corgi").out.strip())
    assert path.read_bytes() == b"weights 0"
    assert dv("subject", "path", "corgi", "--file", "preview").code == 3
    path.chmod(0o644)
    path.write_bytes(b"weights 1")
    damaged = dv("subject", "path", "corgi", "--json")
    assert (damaged.code, damaged.out, damaged.error["code"]) == (5, "", "blob.damaged")


def test_resolve_prints_pinned_references_of_both_kinds(dv: Dv, put: Put) -> None:
    corgi, skate = put("corgi", tags=["best"]), put("skate", "motion")
    assert dv("resolve", "corgi:best", "motion/skate").out == f"{corgi}\n{skate}\n"
    assert [item["name"] for item in dv("resolve", "corgi", "--json").document] == ["corgi"]
    assert dv("resolve", str(corgi)).out == f"{corgi}\n"


def test_a_name_of_both_kinds_needs_its_kind(dv: Dv, put: Put) -> None:
    put("spin")
    put("spin", "motion")
    assert dv("resolve", "spin").code == 2
    assert dv("resolve", "motion/spin").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("subject", "show", "nobody"), 3),
        (("subject", "show", "Corgi"), 2),
        (("subject", "show", "corgi:v9"), 3),
        (("motion", "show", "corgi"), 3),
        (("subject", "restore", "corgi"), 2),
        (("subject", "tag", "corgi", "latest"), 2),
    ],
)
def test_a_wrong_reference_is_told_in_one_object(dv: Dv, put: Put, arguments, code) -> None:
    put("corgi")
    result = dv(*arguments, "--json")
    assert (result.code, result.out) == (code, "")
    assert json.loads(result.err)["exit"] == code
