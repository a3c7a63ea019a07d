"""Adapters as files: out, in, looked into and used where they lie."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from dreamvideo_cli.commands.bundles import read_bytes
from dreamvideo_cli.errors import UsageError
from engine.bases import locate_base
from tests.cli.conftest import Dv, Put
from tests.registry.samples import facts_of, safetensors


@pytest.fixture
def bundle(dv: Dv, put: Put) -> Path:
    """A bundle with one subject, which the registry has as well."""
    put("corgi", data=safetensors(facts_of()), tags=["best"])
    assert dv("subject", "export", "corgi:best", "-o", "corgi.dva").code == 0
    return Path("corgi.dva").absolute()


@pytest.fixture
def loose(base: Path) -> Path:
    """A subject's file, found alone."""
    fingerprint = locate_base(str(base)).fingerprint
    fact = {**facts_of()["base"], "id": str(base), "fingerprint": fingerprint}
    path = Path("found.safetensors").absolute()
    path.write_bytes(safetensors(facts_of(base=fact)))
    return path


def test_an_export_prints_its_path_and_overwrites_nothing(dv: Dv, bundle: Path) -> None:
    assert dv("subject", "export", "corgi", "-o", bundle).code == 4
    again = dv("subject", "export", "corgi", "-o", bundle, "--overwrite", "--json")
    assert again.document["path"] == str(bundle)
    assert dv("subject", "export", "corgi", "-o", "new.dva").out == f"{bundle.parent}/new.dva\n"
    assert sorted(path.name for path in Path().iterdir()) == ["corgi.dva", "new.dva"]


def test_one_bundle_takes_a_subject_and_a_motion(dv: Dv, put: Put, home: Path) -> None:
    put("corgi", data=safetensors(facts_of()))
    put("skate", "motion", data=safetensors(facts_of("motion")))
    astray = dv("subject", "export", "corgi", "skate", "-o", "both.dva", "--json")
    assert (astray.code, astray.error["hint"].endswith("write motion/skate")) == (3, True)
    assert dv("subject", "export", "corgi", "motion/skate", "-o", "both.dva").code == 0
    taken = dv("import", "both.dva", "--registry", home / "other").out.split()
    assert sorted(ref.partition(":")[0] for ref in taken) == ["corgi", "skate"]


def test_an_import_prints_pinned_references_and_is_done_once(
    dv: Dv, bundle: Path, home: Path
) -> None:
    elsewhere = ("--registry", home / "elsewhere")
    pinned = dv("resolve", "corgi").out
    assert dv("import", bundle, *elsewhere).out == pinned
    again = dv("import", bundle, *elsewhere)
    assert (again.out, again.err) == (pinned, "corgi:v1 is there already\n")
    (row,) = dv("import", bundle, "--name", "rex", "--json", *elsewhere).document
    assert row["name"] == "rex"


def test_a_bundle_goes_through_a_pipe(
    dv: Dv, bundle: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        pipe = io.TextIOWrapper(io.BytesIO(), write_through=True)
        patch.setattr(sys, "stdout", pipe)
        assert dv("subject", "export", "corgi", "-o", "-").code == 0
    pipe.seek(0)
    data = pipe.buffer.read()
    assert data == bundle.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setenv("DV_REGISTRY", str(home / "elsewhere"))
    assert dv("import", "-").out.startswith("corgi:v1@sha256:")


def test_a_bundle_is_not_for_terminals_or_json(
    dv: Dv, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dv("subject", "export", "corgi", "-o", "-", "--json").code == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    refused = dv("subject", "export", "corgi", "-o", "-")
    assert (refused.code, "terminal" in refused.err) == (2, True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert dv("import", "-").code == 2


def test_an_export_that_fails_leaves_nothing(dv: Dv, put: Put) -> None:
    adapter = put("corgi")
    path = Path(dv("subject", "path", "corgi").out.strip())
    path.unlink()
    refused = dv("subject", "export", str(adapter), "-o", "corgi.dva", "--json")
    assert (refused.code, refused.out, refused.error["code"]) == (5, "", "blob.missing")
    assert list(Path().iterdir()) == []


def test_a_damaged_or_too_large_file_is_refused(dv: Dv, bundle: Path) -> None:
    assert dv("import", bundle, "--max-size", "100").code == 2
    assert dv("import", "nowhere.dva").code == 3
    bundle.write_bytes(bundle.read_bytes()[:-1])
    refused = dv("import", bundle, "--json")
    assert (refused.code, refused.error["code"]) == (5, "bundle.damaged")


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("7", 7), ("2k", 2048), ("500M", 500 << 20), ("4GiB", 4 << 30)]
)
def test_a_size_has_a_unit(text: str, size_bytes: int) -> None:
    assert read_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "4X"])
def test_a_size_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        read_bytes(text)


def test_a_file_can_be_inspected_without_importing(dv: Dv, bundle: Path, loose: Path) -> None:
    (packed,) = dv("inspect", bundle, "--json").document
    assert (packed["schema"], packed["name"]) == ("dv.found/1", "corgi")
    assert packed["digest"] == dv("subject", "show", "corgi", "--json").document["digest"]
    (alone,) = dv("inspect", loose, "--json").document
    assert (alone["kind"], alone["name"], alone["digest"]) == ("subject", "corgi", None)
    assert "<corgi>, a dog" in dv("inspect", loose).out
    assert "sha256:" in dv("inspect", bundle).out


def test_an_import_that_becomes_the_latest_of_a_name_says_so(
    dv: Dv, put: Put, bundle: Path, home: Path
) -> None:
    """A stranger's bundle chooses its names."""
    elsewhere = ("--registry", home / "elsewhere")
    put("corgi", data=safetensors(value=9))
    assert dv("subject", "export", "corgi:latest", "-o", "second.dva").code == 0
    assert dv("import", bundle, *elsewhere).err == ""
    taken = dv("import", "second.dva", *elsewhere)
    assert taken.out.startswith("corgi:v2@sha256:")
    assert taken.err == (
        "warning: a subject corgi was here before: the imported one is corgi:v2, its latest version in place"
        " of v1; --name OTHER keeps them apart\n"
    )
    (row,) = dv("import", "second.dva", "--json", *elsewhere).document
    assert (row["version"], row["is_new"], row["latest_before"]) == (2, False, None)
    assert dv("import", "second.dva", "--name", "other", *elsewhere).err == ""


def test_a_plan_of_an_import_tells_the_version_and_takes_nothing(
    dv: Dv, put: Put, bundle: Path, loose: Path, home: Path
) -> None:
    elsewhere = ("--registry", home / "elsewhere")
    put("corgi", data=safetensors(value=9))
    assert dv("subject", "export", "corgi:v1", "corgi:v2", "-o", "both.dva").code == 0
    for known, file, versions in (
        (None, "both.dva", [(1, True, None), (2, True, 1)]),
        (bundle, "both.dva", [(1, False, None), (2, True, 1)]),
        (None, loose, [(2, True, 1)]),
        (loose, loose, [(2, False, None)]),
    ):
        if known:
            assert dv("import", known, *elsewhere).code == 0
        before = dv("subject", "list", "--all-versions", *elsewhere).out
        plan = dv("import", file, "-n", "--json", *elsewhere).document
        assert (plan["schema"], plan["command"]) == ("dv.plan/1", "import")
        told = [
            (each["version"], each["is_new"], each["latest_before"]) for each in plan["adapters"]
        ]
        assert told == versions
        assert dv("subject", "list", "--all-versions", *elsewhere).out == before
    told = dv("import", "both.dva", "-n", *elsewhere).err.splitlines()
    assert told[0] == "corgi:v1 is there already"
    assert told[1].startswith(
        "warning: a subject corgi was here before: the imported one is corgi:v3"
    )


def test_what_inspect_does_not_know_is_a_usage_error(dv: Dv) -> None:
    Path("notes.txt").write_text("hello")
    assert dv("inspect", "notes.txt").code == 2
    assert dv("inspect", "nowhere.dva").code == 3


def test_an_adapters_file_found_alone_can_be_imported(dv: Dv, loose: Path) -> None:
    assert dv("import", loose).out.startswith("corgi:v1@sha256:")
    assert "learned" not in dv("subject", "show", "corgi").out
    assert dv("import", loose).err == "corgi:v1 is there already\n"


@pytest.mark.parametrize("what", ["bundle", "loose"])
def test_gen_takes_a_file_without_importing_it(
    dv: Dv, home: Path, what: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(what)
    arguments = ("gen", "a corgi", "-n", "--json", "--registry", home / "empty")
    plan = dv(*arguments, "--subject", f"./{path.name}=0.5").document
    (use,) = plan["subjects"]
    assert use["ref"].startswith("corgi:v1@sha256:")
    assert use["weight"] == 0.5
    assert plan["prompt_sent"] == "a <corgi>"
    assert not (home / "empty").exists()
    assert dv(*arguments, "--subject", path.name).document["subjects"][0]["weight"] == 1.0


def test_gen_wants_one_adapter_of_the_kind(dv: Dv, bundle: Path) -> None:
    refused = dv("gen", "x", "--motion", bundle, "-n", "--json")
    assert (refused.code, "holds 0 motions" in refused.error["message"]) == (2, True)
    assert dv("gen", "x", "--motion", "./nowhere.dva", "-n").code == 3
