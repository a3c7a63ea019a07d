"""Which bases there are, and which is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Dv


def test_the_known_bases_are_listed_wherever_they_lie(dv: Dv) -> None:
    names = dv("base", "list", "-q").out.split()
    assert names[:2] == ["mini", "modelscope"]
    absent = dv("base", "list", "--json").document[1]
    assert (absent["here"], absent["schema"]) == (False, "dv.base_info/1")
    assert "not here" in dv("base", "list").out


def test_show_tells_licence_size_and_place(dv: Dv, base: Path) -> None:
    shown = dv("base", "show", base).out
    assert all(word in shown for word in ("Apache-2.0", str(base), "8 frames at 8 fps, 32x32"))
    document = dv("base", "show", base, "--json").document
    assert document["schema"] == "dv.base_info/1"
    assert len(document["fingerprint"]) == 64


def test_use_makes_a_base_the_default(
    dv: Dv, base: Path, make_base: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dv("base", "use", base).out == f"{base}\n"
    assert dv("base", "show", "--json").document["folder"] == str(base)
    assert [row["default"] for row in dv("base", "list", "--json").document] == [False, False, True]
    other = make_base("other")
    monkeypatch.setenv("DV_BASE", str(other))
    assert dv("base", "show", "--json").document["folder"] == str(other)


def test_a_base_that_is_not_there_does_not_become_the_default(dv: Dv, home: Path) -> None:
    assert dv("base", "use", "./nowhere").code == 7
    assert not (home / "config.toml").exists()


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
