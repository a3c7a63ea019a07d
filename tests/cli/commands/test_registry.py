"""The registry's own commands, and lists that choose and sort."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry import open_registry
from tests.cli.conftest import Dv, Put
from tests.cli.test_main import ENDS_WITH_MODULES, start
from tests.registry.places import record_of
from tests.registry.samples import facts_of, safetensors


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"damaged")


def test_info_counts(dv: Dv, put: Put, home: Path) -> None:
    put("corgi")
    put("corgi")
    put("skate", "motion")
    dv("subject", "rm", "corgi:v1")
    told = dv("registry", "info", "--json").document
    assert (told["path"], told["subjects"], told["motions"]) == (str(home / "registry"), 1, 1)
    assert (told["versions"], told["removed"], told["files"]) == (2, 1, 6)
    assert str(home / "registry") in dv("registry", "info").out


def test_a_whole_registry_verifies(dv: Dv, put: Put) -> None:
    put("corgi")
    assert dv("registry", "verify").out.startswith("1 versions, 2 files, ")
    assert dv("registry", "verify", "--json").document["findings"] == []


def test_damage_is_told_and_is_exit_five(dv: Dv, put: Put) -> None:
    put("corgi")
    damage(Path(dv("subject", "path", "corgi").out.strip()))
    found = dv("registry", "verify", "--json")
    assert (found.code, found.error["code"]) == (5, "blob.damaged")
    assert [each["where"] for each in found.document["findings"]] == ["subject/corgi:v1"]
    told = dv("registry", "verify")
    assert "damaged: subject/corgi:v1" in told.out
    assert told.out.endswith("1 damaged\n")


def test_what_is_found_is_the_result_and_the_error_comes_last(dv: Dv, put: Put, home: Path) -> None:
    """As with `diff` and `git fsck`: stdout is not empty, though the exit code is not 0."""
    put("corgi")
    record = record_of(open_registry(home / "registry"), 1, "corgi")
    damage(record)
    record.write_bytes(b"{}\n")
    for line, schema in (("verify", "dv.verified/1"), ("doctor", "dv.diagnosis/1")):
        found = dv("registry", line, "--json")
        assert (found.code, found.document["schema"]) == (5, schema)
        assert (found.error["schema"], found.error["exit"]) == ("dv.error/1", 5)
        assert "stdout" in dv("registry", line, "--help").out
    assert dv("registry", "doctor", "--fix", "--json").document["found"] == []
    assert dv("registry", "verify").code == 0


def test_gc_shows_first_and_then_frees(dv: Dv, put: Put, home: Path) -> None:
    put("corgi")
    orphan = home / "registry" / "tmp" / "1-ab"
    orphan.write_bytes(b"half")
    os.utime(orphan, (0, 0))
    planned = dv("registry", "gc", "-n")
    assert (planned.out, planned.err) == ("tmp/1-ab\n", "4 B would be freed\n")
    assert orphan.exists()
    assert dv("registry", "gc", "--json").document["size_bytes"] == 4
    assert dv("registry", "gc").err == "0 B freed\n"


def test_the_doctor_finds_and_mends(dv: Dv, put: Put, home: Path) -> None:
    put("corgi")
    assert dv("registry", "doctor").out == "nothing odd\n"
    damage(record_of(open_registry(home / "registry"), 1, "corgi"))
    record_of(open_registry(home / "registry"), 1, "corgi").write_bytes(b"{}\n")
    (home / "registry" / "items" / "My Corgi").mkdir()
    found = dv("registry", "doctor")
    assert found.code == 5
    assert "--fix would write it again from its manifest" in found.out
    assert "doctor --fix mends" in found.err
    mended = dv("registry", "doctor", "--fix")
    assert mended.code == 0
    assert "mended: subject/corgi:v1" in mended.out
    assert "move it elsewhere" in mended.out
    assert dv("resolve", "corgi").code == 0
    assert dv("registry", "doctor", "--json").document["mended"] == []


def test_the_doctor_opens_what_nobody_else_does(dv: Dv, put: Put, home: Path) -> None:
    put("corgi")
    damage(home / "registry" / "registry.toml")
    assert dv("resolve", "corgi").code == 5
    assert dv("registry", "doctor", "--fix").code == 0
    assert dv("resolve", "corgi").code == 0


def test_a_list_chooses_by_tag_and_base(dv: Dv, put: Put, make_base) -> None:
    put("corgi", tags=["best"])
    put("corgi")
    put("teabox", on=make_base("large"))
    assert dv("subject", "list", "--tag", "best", "--all-versions", "-q").out == "corgi:v1\n"
    assert dv("subject", "list", "--base", make_base("x").parent / "large", "-q").out == "teabox\n"


def test_a_list_sorts(dv: Dv, put: Put) -> None:
    put("corgi", data=b"x")
    put("poodle", data=b"xxx")
    put("teabox", data=b"xx")
    assert dv("subject", "list", "-q").out.split() == ["corgi", "poodle", "teabox"]
    assert dv("subject", "list", "-q", "--sort", "size").out.split() == [
        "poodle",
        "teabox",
        "corgi",
    ]
    assert len(dv("subject", "list", "-q", "--sort", "created").out.split()) == 3


def test_a_card_names_the_versions_and_the_preview(dv: Dv, put: Put) -> None:
    put("corgi")
    put("corgi")
    assert "versions  v1 v2\n" in dv("subject", "show", "corgi:v1").out
    document = dv("subject", "show", "corgi:v1", "--json").document
    assert (document["versions"], document["preview"]) == ([1, 2], None)


@pytest.mark.parametrize(
    "line",
    [
        "registry verify",
        "registry doctor",
        "registry gc -n",
        "subject log corgi",
        "subject export corgi -o corgi.dva",
        "inspect alone.safetensors",
        "import alone.safetensors",
    ],
)
def test_what_moves_bytes_only_imports_no_tensors(home: Path, put: Put, line: str) -> None:
    put("corgi")
    Path("alone.safetensors").write_bytes(safetensors(facts_of()))
    _, err = start(*line.split(), script=ENDS_WITH_MODULES).communicate()
    assert err.endswith("heavy=[] code=0"), err
