"""Which bases there are, and which is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.bases.names.releases import RELEASES
from tests.cli.conftest import Dv


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the hub is on this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_known_bases_are_listed_wherever_they_lie(dv: Dv) -> None:
    names = dv("base", "list", "-q").out.split()
    assert names == ["mini", *RELEASES]
    absent = dv("base", "list", "--json").document[1]
    assert (absent["here"], absent["opened"], absent["schema"]) == (False, True, "dv.base_info/1")
    row = next(line for line in dv("base", "list").out.splitlines() if line.startswith("zeroscope"))
    assert row.split()[:4] == ["zeroscope", "no", "7.6", "GB"]
    assert "13.6 GiB" in row


@pytest.mark.parametrize("name", RELEASES)
def test_needs_are_shown_before_anything_is_fetched(dv: Dv, name: str) -> None:
    release = RELEASES[name]
    shown = dv("base", "show", name)
    assert shown.code == 0
    assert all(word in shown.out for word in (release.hub_id, release.licence, "TFLOP a pass"))
    needs = dv("base", "show", name, "--json").document["needs"]
    assert needs["motion"]["memory_bytes"] == round(release.motion.memory_gib * 2**30)
    assert needs["is_estimate"]
    assert f"dv base pull {name}" in shown.err


def test_show_tells_licence_size_and_place(dv: Dv, base: Path) -> None:
    shown = dv("base", "show", base).out
    assert all(word in shown for word in ("Apache-2.0", str(base), "8 frames at 8 fps, 48x32"))
    document = dv("base", "show", base, "--json").document
    assert document["schema"] == "dv.base_info/1"
    assert len(document["fingerprint"]) == 64


def test_use_makes_a_base_the_default(
    dv: Dv, base: Path, make_base: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dv("base", "use", base).out == f"{base}\n"
    assert dv("base", "show", "--json").document["folder"] == str(base)
    assert [row["default"] for row in dv("base", "list", "--json").document][-2:] == [False, True]
    other = make_base("other")
    monkeypatch.setenv("DV_BASE", str(other))
    assert dv("base", "show", "--json").document["folder"] == str(other)


def test_a_base_that_is_not_there_does_not_become_the_default(dv: Dv, home: Path) -> None:
    assert dv("base", "use", "./nowhere").code == 7
    assert (home / "config.toml").read_text() == ""


def test_a_folder_that_is_no_base_is_said_to_be_none(dv: Dv) -> None:
    result = dv("base", "show", ".")
    assert result.code == 7
    assert "model_index.json" in result.err


@pytest.mark.parametrize("text", ["bse = 1", "base = 3", "base =", "\x00"])
def test_a_config_that_cannot_be_read_is_a_usage_error(dv: Dv, home: Path, text: str) -> None:
    (home / "config.toml").write_text(text)
    result = dv("base", "show", "--json")
    assert (result.code, result.error["code"]) == (2, "config.invalid")
    assert "config.toml" in result.error["message"]


def test_the_size_of_a_base_is_shown_with_who_says_it(dv: Dv, base: Path) -> None:
    def shown() -> str:
        return " ".join(dv("base", "show", base).out.split())

    assert "48x32, as its base.toml says" in shown()
    (base / "base.toml").unlink()
    config = {"name": "plain", "sample_size": [20, 36]}
    (base / "unet" / "config.json").write_text(json.dumps(config), "utf-8")
    assert "72x40, as its unet/config.json says; [video] of a base.toml" in shown()
    (base / "base.toml").write_text("[video]\nframes = 24\n", "utf-8")
    assert "24 frames at 8 fps, 72x40, as its base.toml says" in shown()
