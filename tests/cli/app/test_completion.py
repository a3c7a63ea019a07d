"""Completion: what is offered, how each shell is told, and where its script goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dreamvideo_cli.app.completion import answer, complete, split_line
from dreamvideo_cli.app.install_completion import SHELLS, script
from tests.cli.conftest import Dv, Put
from tests.cli.test_main import ENDS_WITH_MODULES, REPOSITORY, start

BREAKS = " \t\n\"'@><=;|&(:"


@pytest.fixture
def names(put: Put) -> None:
    """corgi with three versions, the middle one tagged; fox; the motion skate; the accelerator turbo."""
    put("corgi")
    put("corgi", tags=["best"])
    put("corgi")
    put("fox")
    put("skate", "motion")
    put("turbo", "accelerator")


def offered(*words: str) -> list[str]:
    *before, text = words
    return [each.value for each in complete(before, text).candidates]


def in_bash(line: str) -> list[str]:
    return answer("bash", [], {"_DV_LINE": line, "_DV_BREAKS": BREAKS})


def test_commands_are_offered_at_every_depth() -> None:
    assert {"subject", "motion", "gen", "config"} <= set(offered(""))
    assert offered("subject", "re") == ["rename", "restore"]
    assert offered("nonsense", "") == []


def test_options_are_offered_once_a_dash_is_typed() -> None:
    assert offered("gen", "a dog", "--se") == ["--seed"]
    assert "--seed" not in offered("gen", "--seed", "3", "--se")
    assert "--subject" in offered("gen", "--subject", "corgi", "--sub")
    assert offered("--ver") == ["--version"]
    assert offered("gen", "--", "--se") == []


def test_choices_are_offered_where_the_option_takes_them() -> None:
    assert offered("gen", "--format", "") == ["mp4", "gif", "webp", "png"]
    assert offered("gen", "--format=w") == ["--format=webp"]
    assert offered("subject", "learn", "--device", "cu") == ["cuda"]
    assert offered("gen", "x", "--progress", "p") == ["plain"]


def test_a_name_is_offered_and_once_it_is_whole_what_it_has(home: Path, names: None) -> None:
    assert offered("subject", "show", "") == ["corgi", "fox"]
    assert offered("subject", "show", "f") == ["fox", "fox:v1", "fox:latest"][:1]
    assert offered("subject", "show", "corgi")[:2] == ["corgi", "corgi:best"]
    assert offered("subject", "show", "corgi:v") == ["corgi:v3", "corgi:v2", "corgi:v1"]
    assert offered("subject", "show", "corgi:b") == ["corgi:best"]


def test_the_kind_is_that_of_the_group_or_of_the_option(home: Path, names: None) -> None:
    assert offered("motion", "rm", "") == ["skate"]
    assert offered("gen", "x", "--motion", "") == ["skate"]
    assert offered("gen", "x", "--accelerator", "") == ["turbo", "mini-4", "none"]
    assert offered("accelerator", "tag", "t") == ["turbo", "turbo:v1", "turbo:latest"][:1]
    assert offered("gen", "x", "--subject=c") == ["--subject=corgi"]
    assert offered("resolve", "corgi", "") == ["corgi", "fox", "skate", "turbo"]


def test_only_what_was_removed_can_be_restored(dv: Dv, names: None) -> None:
    assert offered("subject", "restore", "") == []
    dv("subject", "rm", "corgi:v1")
    assert offered("subject", "restore", "") == ["corgi:v1"]


def test_tags_are_offered_to_be_taken_off_and_to_be_moved(home: Path, names: None) -> None:
    assert offered("subject", "untag", "") == ["corgi:best"]
    assert offered("subject", "tag", "corgi", "") == ["best"]
    assert offered("subject", "list", "--tag", "b") == ["best"]


def test_settings_and_their_values_are_offered() -> None:
    assert offered("config", "get", "d") == ["device"]
    assert offered("config", "set", "progress", "j") == ["json"]


def test_the_registry_on_the_line_is_the_one_that_is_asked(home: Path, names: None) -> None:
    assert offered("subject", "show", "--registry", str(home / "none"), "") == []


def test_paths_are_left_to_the_shell(home: Path, names: None) -> None:
    assert complete(["subject", "learn"], "").kind == "files"
    assert complete(["subject", "show"], "./").kind == "files"
    assert complete(["subject", "list", "--registry"], "").kind == "folders"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dv ", ([], "", False)),
        ("dv sub", ([], "sub", False)),
        ("dv gen 'a corgi' --sub", (["gen", "a corgi"], "--sub", False)),
        ('dv gen "a \\"b\\"" x\\ y', (["gen", 'a "b"'], "x y", False)),
        ("X=1 dv subject show 'corgi:v", (["subject", "show"], "corgi:v", True)),
        ("dv gen 'open ", (["gen"], "open ", True)),
    ],
)
def test_a_line_is_split_as_the_shell_would(line: str, expected) -> None:
    assert split_line(line) == expected


def test_bash_gets_what_stands_behind_its_last_word_break(home: Path, names: None) -> None:
    assert in_bash("dv subject show corgi:v") == ["words", "v3", "v2", "v1"]
    assert in_bash("dv gen x --subject=corgi:b") == ["words", "best"]
    assert in_bash("dv subject show 'corgi:b") == ["words", "corgi:best"]


def test_zsh_and_fish_get_whole_words_and_what_they_mean(home: Path, names: None) -> None:
    lines = answer("zsh", ["--", "subject", "show", "corgi:b"], {})
    assert lines == ["words", "corgi:best\tv2"]
    assert answer("fish", ["--"], {})[1].startswith("demo\tLearn a sample")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_real_bash_completes_behind_a_colon(home: Path, names: None) -> None:
    shim = home / "dv"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dreamvideo_cli "$@"\n')
    shim.chmod(0o755)
    (home / "dv.bash").write_text(script("bash"))
    line = "dv subject show corgi:v"
    steps = f". {home}/dv.bash; COMP_LINE='{line}' COMP_POINT={len(line)}; _dv_completion dv"
    told = subprocess.run(
        ["bash", "--norc", "-c", steps + '; printf "%s\n" "${COMPREPLY[@]}"'],
        env={**os.environ, "PATH": f"{home}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["v3", "v2", "v1"]


def test_completion_imports_nothing_heavy(
    home: Path, names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_DV_COMPLETE", "zsh")
    process = start("--", "subject", "show", "c", script=ENDS_WITH_MODULES)
    out, err = process.communicate()
    assert out.startswith("words\ncorgi\t")
    assert err.endswith("heavy=[] code=0"), err


def test_a_fault_in_completion_says_nothing(
    home: Path, names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "registry" / "registry.toml").write_text("broken")
    monkeypatch.setenv("_DV_COMPLETE", "zsh")
    process = start("--", "subject", "show", "")
    assert process.communicate() == ("", "")
    assert process.returncode == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_installing_twice_is_installing_once(
    dv: Dv, home: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    (home / f".{shell}rc").write_text("# mine")
    first, second = dv("--install-completion", shell), dv("--install-completion", shell)
    assert (first.code, second.code, first.out) == (0, 0, second.out)
    assert Path(first.out.strip()).read_text() == script(shell)
    start_file = (home / f".{shell}rc").read_text()
    assert start_file.count(first.out.strip()) == (0 if shell == "fish" else 2)
    assert start_file.startswith("# mine")


def test_the_shell_is_the_users_own(dv: Dv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert dv("--show-completion").out == script("zsh")
    assert dv("--show-completion", "bash").out == script("bash")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert dv("--show-completion").code == 2
    monkeypatch.delenv("SHELL")
    assert dv("--show-completion", "--json").code == 2


def test_runs_are_offered_by_their_ids(home: Path) -> None:
    assert offered("runs", "show", "") == []
