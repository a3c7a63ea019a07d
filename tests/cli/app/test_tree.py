"""What holds for every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamvideo_cli.app.groups import Group, app
from dreamvideo_cli.app.suggestions import COMMANDS as SYNONYMS
from dreamvideo_cli.app.suggestions import OPTIONS
from dreamvideo_cli.app.tree import ROOT
from dreamvideo_cli.terminal.options import EVERYWHERE, SECTIONS
from tests.cli.conftest import Dv

COMMON = ("--json", "--quiet", "--verbose", "--registry", "--no-input", "--progress", "--help")


def walk(command, path=()) -> Iterator[tuple[tuple[str, ...], object]]:
    if not isinstance(command, Group):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from walk(command.get_command(None, name), (*path, name))


COMMANDS = dict(walk(app()))
EXPECTED = {
    *((kind, verb) for kind in ("subject", "motion") for verb in
      ("learn", "list", "show", "tag", "untag", "rename", "log", "diff", "rm", "restore", "export",
       "path")),
    *(("accelerator", verb) for verb in
      ("list", "show", "tag", "untag", "rename", "log", "diff", "rm", "restore", "export", "path")),
    *(("runs", verb) for verb in ("list", "show", "resume", "promote", "rm")),
    *(("registry", verb) for verb in ("info", "verify", "gc", "doctor")), ("import",), ("inspect",),
    *(("config", verb) for verb in ("list", "get", "set", "unset", "path")),
    ("base", "list"), ("base", "show"), ("base", "pull"), ("base", "use"),
    ("base", "import"), ("gen",), ("grid",),
    ("resolve",), ("demo",), ("help",),
    ("eval",), ("bench",), ("tune",),
}  # fmt: skip
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_the_tree_has_these_commands() -> None:
    assert set(COMMANDS) == EXPECTED


@each_command
def test_every_command_explains_itself_with_an_example(dv: Dv, path: tuple[str, ...]) -> None:
    result = dv(*path, "-h")
    assert result.code == 0
    assert f"Example: dv {' '.join(path)}" in result.out
    assert all(option in result.out for option in COMMON)
    assert not any(word in result.out for word in ("KIND", "MISSING", "dataclass"))
    assert re.search(r"<|INTEGER|FLOAT|x>=|<=", result.out) is None


@each_command
def test_help_begins_with_what_everybody_uses_and_ends_with_what_every_command_takes(
    dv: Dv, path: tuple[str, ...]
) -> None:
    headings = re.findall(r"^(\S.*):$", dv(*path, "--help").out, re.MULTILINE)
    assert headings == [heading for heading in SECTIONS if heading in headings]
    assert headings[-1] == EVERYWHERE


@each_command
def test_the_overview_says_what_the_command_says(path: tuple[str, ...]) -> None:
    """The overview is printed without loading a command, so it has the line twice."""
    entry = ROOT
    for name in path:
        entry = entry.entries[name]
    assert COMMANDS[path].help.splitlines()[0] == entry.summary


@each_command
def test_every_option_and_argument_has_a_word_of_help(path: tuple[str, ...]) -> None:
    assert [param.name for param in COMMANDS[path].params if not getattr(param, "help", None)] == []


@each_command
def test_an_unknown_option_is_a_usage_error_in_either_form(dv: Dv, path: tuple[str, ...]) -> None:
    plain = dv(*path, "--nonsense")
    assert (plain.code, plain.out) == (2, "")
    assert plain.err.startswith("error: ")
    as_json = dv(*path, "--nonsense", "--json")
    assert (as_json.code, as_json.out) == (2, "")
    assert as_json.error["code"] == "usage.invalid"


@pytest.mark.parametrize(
    "path", [(), ("subject",), ("motion",), ("base",), ("registry",), ("config",)], ids=" ".join
)
def test_a_group_alone_shows_what_it_has(dv: Dv, path: tuple[str, ...]) -> None:
    result = dv(*path)
    assert result.code == 0
    entry = ROOT
    for name in path:
        entry = entry.entries[name]
    assert all(f"\n  {name} " in result.out for name in entry.entries)


def test_a_mistyped_command_names_the_nearest(dv: Dv) -> None:
    result = dv("subject", "lst")
    assert result.code == 2
    assert "list" in result.err


def test_a_mistyped_option_names_the_nearest(dv: Dv) -> None:
    result = dv("gen", "a dog", "--stps", "3")
    assert result.code == 2
    assert "--steps" in result.err


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("subjet", "dv subject"),
        ("learn", "dv subject learn or dv motion learn"),
        ("generate", "dv gen"),
        ("subject delete", "dv subject rm"),
        ("train", "dv subject learn or dv motion learn"),
        ("export", "dv subject export, dv motion export or dv accelerator export"),
        ("resume", "dv runs resume"),
        ("status", "dv runs list"),
        ("create", "dv gen"),
        ("subject create", "dv subject learn"),
        ("completion", "dv --install-completion"),
        ("version", "dv --version"),
    ],
)
def test_a_command_that_is_not_there_is_answered_with_what_was_meant(
    dv: Dv, line: str, meant: str
) -> None:
    result = dv(*line.split(), "--json")
    assert (result.code, result.error["hint"]) == (2, f"did you mean {meant}?")


def test_a_command_like_no_other_is_answered_with_the_help(dv: Dv) -> None:
    assert dv("qqq").err.endswith("hint: dv --help\n")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("gen --adapter a", "did you mean --subject or --motion?"),
        ("gen --resolution 64", "did you mean --size?"),
        ("gen --model a", "did you mean --base?"),
        ("gen --force", "did you mean --overwrite?"),
        ("gen --weight 1", "a weight stands behind a reference: --subject NAME=0.8"),
        ("gen --qqq 1", "dv gen --help"),
        ("subject learn --rank 8", "dv subject learn --help"),
        ("subject learn --learning-rate 1", "did you mean --lr?"),
        ("subject learn --word-steps 3", "write it as --set word_steps=VALUE"),
        ("motion learn --class a", "did you mean --caption or --actor?"),
    ],
)
def test_an_option_that_is_not_there_is_answered_with_what_is_likely_or_with_the_help(
    dv: Dv, line: str, hint: str
) -> None:
    result = dv(*line.split(), "--json")
    assert (result.code, result.error["hint"]) == (2, hint)


def test_every_option_that_a_suggestion_names_is_one_of_some_command() -> None:
    known = {
        name for command in COMMANDS.values() for param in command.params for name in param.opts
    }
    named = {name for names in OPTIONS.values() for name in names}
    assert named <= known


def test_every_command_that_a_suggestion_names_is_there() -> None:
    verbs = {path[-1] for path in COMMANDS} | {path[0] for path in COMMANDS}
    verbs |= {" ".join(path) for path in COMMANDS} | {"--install-completion", "--version"}
    assert {name for names in SYNONYMS.values() for name in names} <= verbs


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gen x --steps m", "--steps: 'm' is not a whole number"),
        ("gen x --count 0", "--count: 0 is less than 1"),
        ("gen x --identity-from 3", "--identity-from: 3.0 is not from 0 to 1"),
        ("subject untag corgi best", "too many arguments: best"),
        ("subject learn pics", "--name is missing"),
    ],
)
def test_a_complaint_has_the_words_of_people(dv: Dv, line: str, message: str) -> None:
    assert dv(*line.split(), "--json").error["message"] == message


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (("runs", "rm", "", "-n"), "an argument"),
        (("subject", "learn", "", "--name", "corgi", "-n"), "an argument"),
        (("gen", "a dog", "--edit", "", "-n"), "--edit"),
        (("gen", "a dog", "--edit=", "-n"), "--edit"),
        (("gen", "a dog", "-o", "", "-n"), "--output"),
        (("gen", "--jobs", "", "-n"), "--jobs"),
    ],
)
def test_what_a_variable_that_is_not_set_leaves_is_no_file_and_no_run(
    dv: Dv, line: tuple[str, ...], named: str
) -> None:
    result = dv(*line, "--json")
    assert (result.code, result.out) == (2, "")
    assert result.error["message"] == f"{named} is empty"


@pytest.mark.parametrize("flag", ["--negative", "--note"])
def test_an_empty_text_is_a_text(dv: Dv, photos: Path, flag: str) -> None:
    lines = {
        "--negative": ("gen", "a cat"),
        "--note": ("subject", "learn", photos, "--name", "corgi"),
    }
    assert dv(*lines[flag], flag, "", "-n").code == 0


def test_the_beginning_of_an_option_names_the_whole(dv: Dv) -> None:
    assert dv("subject", "list", "--all").err.endswith("hint: did you mean --all-versions?\n")


def test_what_is_missing_is_shown_by_an_example(dv: Dv) -> None:
    result = dv("subject", "learn", "pics")
    assert "hint: for example: dv subject learn ./dv-demo/photos --name fox" in result.err


def test_the_beginning_of_a_command_is_enough_to_name_it(dv: Dv) -> None:
    assert dv("sub", "--json").error["hint"] == "did you mean dv subject?"
    assert dv("subject", "le", "--json").error["hint"] == "did you mean dv subject learn?"
