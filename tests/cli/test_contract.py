"""The contract of the command line, for every command: what goes where, in which form, with which code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dreamvideo_cli.app import help as help_topics
from dreamvideo_cli.runs.folders import end_run, list_runs, start_run
from dreamvideo_cli.runs.folders.settings import RunSettings
from dreamvideo_cli.terminal.failures import EXIT_CODES, MEANINGS
from dreamvideo_cli.terminal.options import Shell
from registry import open_registry
from tests.cli.app.test_tree import COMMANDS
from tests.cli.conftest import Dv, Put, Result, publisher, write_base
from tests.cli.test_main import HEAVY, start
from tests.registry.places import record_of

SCHEMA = re.compile(r"dv\.[a-z_]+/[1-9]")
ADAPTERS = (("subject", "corgi"), ("motion", "skate"), ("accelerator", "turbo"))
# A line that succeeds, and one that fails, with its code; what is in capitals is filled in.
VERBS = {
    "list": ("", "--sort nonsense", 2),
    "show": ("NAME", "nosuch", 3),
    "tag": ("NAME:v1 good", "NAME nosuch --if-at NAME:v9", 3),
    "untag": ("NAME:best", "NAME:nosuch", 3),
    "rename": ("NAME other", "nosuch other", 3),
    "log": ("NAME", "nosuch", 3),
    "diff": ("NAME:v1 NAME:v2", "NAME:v1 NAME:v9", 3),
    "rm": ("NAME:v1", "NAME:best", 2),
    "restore": ("NAME:v3", "NAME:v9", 3),
    "export": ("NAME -o out.dva", "NAME -o taken.dva", 4),
    "path": ("NAME", "NAME --file nosuch", 3),
}
LINES: dict[str, tuple[str, str, int]] = {
    f"{kind} {verb}": tuple(
        line.replace("NAME", name) if isinstance(line, str) else line for line in lines
    )
    for kind, name in ADAPTERS
    for verb, lines in VERBS.items()
} | {
    "subject learn": ("PHOTOS --name new --base BASE -n", "nosuch --name new --base BASE", 3),
    "motion learn": ("CLIP --name new --base BASE -n", "CLIP --name new --base nosuch", 7),
    "gen": ("corgi --subject corgi --motion skate -n", "corgi --subject nosuch", 3),
    "grid": ("corgi --subject corgi --motion skate -n", "corgi --subject nosuch", 3),
    "tune": ("", "corgi skate corgi --weights heavy", 2),
    "resolve": ("corgi:best motion/skate", "corgi:nosuch", 3),
    "import": ("taken.dva", "nosuch.dva", 3),
    "inspect": ("taken.dva", "nosuch.dva", 3),
    "base list": ("", "--nonsense", 2),
    "base show": ("BASE", "./nosuch", 7),
    "base pull": ("mini", "nosuch", 7),
    "base use": ("BASE", "./nosuch", 7),
    "base import": ("", "nosuch.pth -o new --like BASE", 3),
    "runs list": ("", "--nonsense", 2),
    "runs show": ("RUN", "nosuch", 3),
    "runs resume": ("RUN", "nosuch", 3),
    "runs promote": ("RUN --step 1", "RUN --step 9", 3),
    "runs rm": ("RUN -n", "nosuch", 3),
    "eval": ("", "nosuch.mp4", 3),
    "bench": ("", "--base nosuch", 7),
    "registry info": ("", "--registry FOREIGN", 2),
    "registry verify": ("", "--registry FOREIGN", 2),
    "registry gc": ("-n", "--registry FOREIGN", 2),
    "registry doctor": ("", "surplus", 2),
    "config list": ("", "surplus", 2),
    "config get": ("base", "bse", 2),
    "config set": ("base mini", "bse mini", 2),
    "config unset": ("base", "bse", 2),
    "config path": ("", "surplus", 2),
    "help": ("references", "nosuch", 2),
    "demo": ("", "--device nonsense", 2),
}
# demo, bench and tune make what they show, eval opens a video, promote wants a real save, base import a network: they
# have tests of their own.
OWN = {"base import", "bench", "demo", "eval", "runs promote", "tune"}
RUNS = [name for name in LINES if name not in OWN]
# Photos and clips are opened to be checked before anything is learned.
OPEN_MEDIA = {"subject learn", "motion learn"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each kind with two live versions, tagged, and a removed one; a bundle; a finished run.

    Made once and copied for each test: publishing waits for the disk.
    """
    home = tmp_path_factory.mktemp("made")
    put = publisher(home, write_base(home / "bases" / "plain"))
    store = open_registry(home / "registry")
    for kind, name in ADAPTERS:
        put(name, kind)
        put(name, kind, tags=["best"])
        put(name, kind)
        store.remove(store.plan_removal([f"{name}:v3"]))
    (home / "here").mkdir()
    with (home / "here" / "taken.dva").open("xb") as target:
        store.export([store.resolve("corgi:v1")], target)
    run = start_run(
        home / "state" / "runs",
        "subject",
        "corgi",
        "ab" * 32,
        command=["dv"],
        inputs=[],
        settings=RunSettings(registry=str(home / "registry")),
        recipe={},
    )
    end_run(run, "finished", ref="corgi:v1")
    (home / "foreign").mkdir()
    (home / "foreign" / "letter.txt").touch()
    return home


@pytest.fixture
def world(home: Path, made: Path, photos: Path, clip: Path) -> dict[str, str]:
    """A home in which all that is `made` lies, and what fills in the lines."""
    shutil.copytree(made, home, dirs_exist_ok=True)
    (run,) = list_runs(home / "state" / "runs")
    return {
        "PHOTOS": str(photos),
        "CLIP": str(clip),
        "BASE": str(made / "bases" / "plain"),
        "FOREIGN": str(home / "foreign"),
        "RUN": run.id,
    }


def filled(name: str, line: str, world: dict[str, str]) -> list[str]:
    return [*name.split(), *(world.get(word, word) for word in line.split())]


def documents(result: Result) -> list[object]:
    """What is on stdout: one object, an array, or an object a line."""
    found = [json.loads(line) for line in result.out.splitlines()]
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def test_every_command_has_its_lines() -> None:
    assert set(LINES) == {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("name", RUNS)
def test_success_as_json_is_one_document_with_a_schema(
    dv: Dv, world: dict[str, str], name: str
) -> None:
    result = dv(*filled(name, LINES[name][0], world), "--json")
    assert result.code == 0, result.err
    assert result.out.endswith("\n")
    found = documents(result)
    assert found
    assert all(SCHEMA.fullmatch(each["schema"]) for each in found)


@pytest.mark.parametrize("name", LINES)
def test_failure_as_json_is_an_empty_stdout_and_one_object_at_the_end(
    dv: Dv, world: dict[str, str], name: str
) -> None:
    _, line, code = LINES[name]
    result = dv(*filled(name, line, world), "--json")
    assert (result.code, result.out) == (code, ""), result.err
    assert set(result.error) == {"schema", "code", "exit", "message", "hint"}
    assert result.error["schema"] == "dv.error/1"
    assert result.error["exit"] == code
    assert code in MEANINGS


@pytest.mark.parametrize("name", LINES)
def test_failure_is_a_line_for_a_person_and_perhaps_a_hint(
    dv: Dv, world: dict[str, str], name: str
) -> None:
    _, line, code = LINES[name]
    result = dv(*filled(name, line, world), "-q")
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("error: ")
    assert [each.partition(": ")[0] for each in result.err.splitlines()] in (
        ["error"],
        ["error", "hint"],
    )


@pytest.mark.parametrize("name", RUNS)
def test_quiet_leaves_the_result_and_nothing_else(dv: Dv, world: dict[str, str], name: str) -> None:
    result = dv(*filled(name, LINES[name][0], world), "-q", "-v")
    assert (result.code, result.err) == (0, "")
    assert result.out or name in {"registry gc"}


@pytest.mark.parametrize("name", RUNS)
def test_the_registry_may_be_another(dv: Dv, world: dict[str, str], home: Path, name: str) -> None:
    """In an empty one a name is not found; what needs no name succeeds."""
    line = filled(name, LINES[name][0], world)
    result = dv(*line, "--registry", home / "other", "--no-input", "--progress", "none", "--json")
    group, _, verb = name.partition(" ")
    needs_name = group in {*dict(ADAPTERS), "gen", "grid", "resolve"}
    assert result.code == (3 if needs_name and verb not in {"learn", "list"} else 0)


def test_nothing_heavy_is_imported_by_what_needs_no_pixels(
    home: Path, world: dict[str, str]
) -> None:
    """One process runs them all, so that whichever is the first to import something is named."""
    lines = [filled(name, LINES[name][0], world) for name in RUNS if name not in OPEN_MEDIA]
    script = f"""
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from dreamvideo_cli.main import main
for line in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main([*line, "--json"])
    heavy = sorted(set({HEAVY!r}) & set(sys.modules))
    if heavy:
        print(line, heavy)
        break
"""
    out, err = start(json.dumps(lines), script=script).communicate()
    assert (out, err) == ("", "")


def test_every_exit_code_that_is_used_has_a_meaning() -> None:
    assert set(EXIT_CODES.values()) <= set(MEANINGS)


@pytest.mark.parametrize("option", ["--json", "-q", "--registry", "--progress"])
def test_an_option_before_the_command_is_told_where_it_stands(dv: Dv, option: str) -> None:
    result = dv(option, "subject", "list")
    assert result.code == 2
    assert f"dv COMMAND {option}" in result.err


def test_colours_are_for_terminals_and_for_those_who_want_them(
    dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b" not in dv("resolve", "nosuch").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert dv("resolve", "nosuch").err.startswith("\x1b[1;31merror:\x1b[0m ")
    assert json.loads(dv("resolve", "nosuch", "--json").err)["exit"] == 3
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in dv("resolve", "nosuch").err


@pytest.mark.parametrize(("term", "coloured"), [("xterm-256color", True), ("dumb", False)])
def test_a_dumb_terminal_gets_no_colours(
    dv: Dv, monkeypatch: pytest.MonkeyPatch, term: str, coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    assert ("\x1b" in dv("resolve", "nosuch").err) is coloured


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_fits_the_columns_that_there_are(
    dv: Dv, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = dv("gen", "--help").out.splitlines()
    assert max(map(len, lines)) <= min(columns, 80)


def test_a_list_fits_a_terminal_and_is_whole_in_a_pipe(
    dv: Dv, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("skate", "motion", caption="skating along the river " * 8)
    piped = dv("motion", "list").out
    assert "skating along the river " * 7 in piped
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = dv("motion", "list").out.splitlines()
    assert max(map(len, shown)) <= 80
    assert "…" in shown[1]
    assert dv("motion", "list", "-q").out == "skate\n"


def test_what_cannot_be_read_is_told_even_where_only_results_are_wanted(
    dv: Dv, put: Put, home: Path
) -> None:
    put("corgi")
    put("fox")
    record = record_of(open_registry(home / "registry"), 1, "fox")
    record.chmod(0o644)
    record.write_bytes(b"damaged\n")
    result = dv("subject", "list", "-q")
    assert (result.code, result.out) == (0, "corgi\n")
    assert result.err.startswith("warning: the version record")


def test_questions_are_for_terminals(dv: Dv, put: Put) -> None:
    put("corgi", tags=["best"])
    result = dv("subject", "rm", "corgi:v1", "--json")
    assert (result.code, result.error["code"]) == (2, "usage.consent")


def test_the_shells_options_have_neutral_defaults() -> None:
    """`config list` tells a flag from a default by its value."""
    shell = Shell()
    assert (shell.registry, shell.progress, shell.no_input) == (None, "auto", False)


def names_of(lines: Sequence[str]) -> list[str]:
    return [line.split()[0] for line in lines]


def test_help_lists_its_topics_and_prints_each(dv: Dv) -> None:
    topics = names_of(dv("help").out.splitlines())
    assert set(topics) >= {
        "exit-codes", "references", "json", "environment", "scripting", "safety",
    }  # fmt: skip
    assert dv("help", "-q").out.split() == topics
    for topic in topics:
        lines = dv("help", topic).out.splitlines()
        assert len(lines) > 5
        assert max(map(len, lines)) <= 80


def test_help_on_a_command_is_the_commands_own(dv: Dv) -> None:
    assert dv("help", "subject", "tag").out == dv("subject", "tag", "--help").out
    assert dv("help", "motion").out == dv("motion", "--help").out


def test_help_on_nothing_known_names_the_nearest(dv: Dv) -> None:
    result = dv("help", "exit-code", "--json")
    assert (result.code, result.error["hint"]) == (2, "did you mean exit-codes?")
    assert dv("help", "qqq").code == 2


def test_help_tells_every_exit_code_and_every_variable(dv: Dv) -> None:
    codes = names_of(dv("help", "exit-codes").out.splitlines())
    assert [int(code) for code in codes] == list(MEANINGS)
    told = dv("help", "environment").out
    used = {
        name
        for path in Path(__file__).parents[2].glob("dreamvideo_cli/**/*.py")
        for name in re.findall(r"\bDV_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert all(name in told for name in used - {"DV_COMPLETE"}), used


def test_the_examples_of_the_first_help_are_commands_that_exist(dv: Dv) -> None:
    lines = [line.split() for line in dv("--help").out.splitlines() if line.startswith("  dv ")]
    assert len(lines) >= 4
    for _, *words in lines:
        path = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else tuple(words[:1])
        assert path in COMMANDS


def test_the_topic_on_json_names_every_schema_that_a_command_prints() -> None:
    package = Path(help_topics.__file__).parents[1]
    printed = {
        name
        for module in package.rglob("*.py")
        for name in re.findall(r'"schema": "(dv\.[a-z_]+/1)"', module.read_text())
    }
    assert printed <= set(help_topics.SCHEMAS)


def test_the_help_of_help_names_every_topic(dv: Dv) -> None:
    said = dv("help", "--help").out
    assert all(topic in said for topic in help_topics.TOPICS)


@pytest.mark.parametrize("topic", help_topics.TOPICS)
def test_a_topic_fits_a_terminal(dv: Dv, topic: str) -> None:
    assert max(len(line) for line in dv("help", topic).out.splitlines()) < 80


def test_the_overview_fits_a_terminal(dv: Dv) -> None:
    assert max(len(line) for line in dv("--help").out.splitlines()) < 80
