"""Groups and commands as Typer runs them: a command's module is imported when the command is met, not before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import (  # what Typer takes as `cls=`: help and files have no other way
    TyperCommand,
    TyperGroup,
)

from dreamvideo_cli.app.tree import ROOT, Branch, Leaf
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.options import EVERYWHERE, OPTIONS, SECTIONS, command
from dreamvideo_cli.terminal.text import is_utf8, one_line

SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"]}
# What the value of an option or argument is called where it is text, and no path.
TEXTS = {"TEXT", "WORD", "NAME", "TAG", "PROMPT", "KEY", "VALUE", "KEY=VALUE", "OLD", "NEW", "RUN"}
# Holds the words of "[at least 1]" together while a help is wrapped.
UNBROKEN = "\xa0"


class Command(TyperCommand):
    """A command whose options may stand in files of settings, and are listed last in its help if all have them."""

    reads_files = True  # not of a command that is there to mend them

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Flags and variables are read by Typer; what neither says may stand in a file."""
        is_asked_only = extra.get("resilient_parsing") or {"-h", "--help"} & set(args)
        if self.reads_files and not is_asked_only:
            extra["default_map"] = FileDefaults(self.params)
            _refuse_empty(self.params, args)
        context = super().make_context(info_name, args, parent, **extra)
        _refuse_bytes(self.params, context.params)
        return context

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What is required, without Typer's braces, then that there are options."""
        params = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        named = [param.make_metavar(ctx) for param in params]
        pieces = zip(params, named, strict=True)
        words = [
            name if param.required or name.startswith("[") else f"[{name}]"
            for param, name in pieces
        ]
        return [*words, "[OPTIONS]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options in sections; an option names its own by its help panel."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in SECTIONS}
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None:
                is_argument = param.param_type_name == "argument"
                is_help = "--help" in param.opts
                panel = EVERYWHERE if is_help else getattr(param, "rich_help_panel", None)
                title = "Arguments" if is_argument else panel or OPTIONS
                sections[title].append(plain_words(row))
        write_sections(formatter, sections)


def _refuse_empty(params: Iterable[Any], words: Sequence[str]) -> None:
    """Nothing is no file and no run: a variable of the shell was not set. Texts are answered where they are read."""
    arguments = [param for param in params if param.param_type_name == "argument"]
    valued = [param for param in params if not getattr(param, "is_flag", True)]
    options = {name: [param] for param in valued for name in param.opts}
    for before, word in pairwise(["", *words]):
        named = options.get(word.removesuffix("=")) if word.endswith("=") else None
        named = options.get(before, arguments) if word == "" else named
        if named and any(param.metavar not in TEXTS - {"RUN"} for param in named):
            name = named[0].opts[0] if named is not arguments else "an argument"
            raise UsageError(
                f"{name} is empty", hint="name one; is a variable of the shell not set?"
            )


def _refuse_bytes(params: Iterable[Any], values: Mapping[str, Any]) -> None:
    """A path may be any bytes; what is text for people or for a model is UTF-8."""
    for param in params:
        found = values.get(param.name)
        for text in found if isinstance(found, list | tuple) else [found]:
            if param.metavar in TEXTS and isinstance(text, str) and not is_utf8(text):
                name = param.opts[0] if param.opts[0].startswith("-") else param.metavar
                raise UsageError(f"{name} is not UTF-8 text: '{one_line(text)}'")


class FileDefaults(dict[str, Any]):
    """What files of settings say of a command's parameters; a file is read when it is needed."""

    def __init__(self, params: Iterable[Any]) -> None:
        from dreamvideo_cli.settings.keys import KEYS

        super().__init__()
        by_variable = {key.variable: name for name, key in KEYS.items()}
        self._keys = {
            param.name: by_variable[param.envvar]
            for param in params
            if getattr(param, "envvar", None) in by_variable
        }

    def get(self, name: str, default: Any = None) -> Any:
        """The value in the nearest file, for Typer's `Context.lookup_default`."""
        from dreamvideo_cli.settings.lookup import from_files

        found = from_files(self._keys[name]) if name in self._keys else None
        return default if found is None else found.value


class Group(TyperGroup):
    """A group that knows its commands by name and summary, and loads the one that is asked for."""

    def __init__(self, name: str, branch: Branch) -> None:
        super().__init__(
            name=name,
            help=branch.summary,
            context_settings=dict(SETTINGS),
            rich_markup_mode=None,
            options_metavar=None,
        )
        self.branch = branch

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names, in the order of the tree."""
        return list(self.branch.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """The command or group of that name, loaded now."""
        entry = self.branch.entries.get(cmd_name)
        return entry and build(cmd_name, entry)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A group without a command tells what it has."""
        return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command of that name; a name that is not there is answered with what was meant."""
        if args[0] in self.branch.entries or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        from dreamvideo_cli.app.suggestions import command_meant
        from registry.ref import either

        meant = command_meant(self.branch, ctx.command_path, args[0])
        hint = f"did you mean {either(meant)}?" if meant else f"{ctx.command_path} --help"
        raise UsageError(f"there is no command {ctx.command_path} {args[0]}", hint=hint)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Name and summary of every command, in sections, none of them loaded."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.branch.entries.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        write_sections(formatter, sections)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The commands first: they are what a reader looks for."""
        self.format_commands(ctx, formatter)
        rows = [row for param in self.get_params(ctx) if (row := param.get_help_record(ctx))]
        write_sections(formatter, {OPTIONS: [*self.branch.options.items(), *rows]})
        if self.branch.epilog:
            formatter.write(f"\n{self.branch.epilog}\n")


def build(name: str, entry: Leaf | Branch) -> Any:
    """The group or the command as Typer runs it."""
    return Group(name, entry) if isinstance(entry, Branch) else _command(name, entry)


def plain_words(row: tuple[str, str]) -> tuple[str, str]:
    """Typer's row of an option, ``<a|b>`` and ``[0<=x<=1]``, in the words that we write elsewhere."""
    names, text = row
    text = re.sub(r"\b([\d.]+)<=x<=([\d.]+)", r"from \1 to \2", text)
    text = re.sub(r"\bx>=([\d.]+)", r"at least \1", text)
    text = re.sub(r"\[[^][]+\]$", lambda found: found[0].replace(" ", UNBROKEN), text)
    return re.sub(r"<([^<>]+)>", r"\1", names), text


def write_sections(formatter: Any, sections: Mapping[str, list[tuple[str, str]]]) -> None:
    """Two columns under each heading that has rows."""
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
    formatter.buffer[:] = [text.replace(UNBROKEN, " ") for text in formatter.buffer]


def _command(name: str, leaf: Leaf) -> Any:
    """The one command of a Typer app of its own, in plain text: markup would double the time of every help."""
    from importlib import import_module

    module, _, function = leaf.place.partition(":")
    found = getattr(import_module(f"dreamvideo_cli.{module}"), function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=Command, context_settings=dict(SETTINGS))(command(found, **leaf.fixed))
    built: Any = typer.main.get_command(app)
    built.reads_files = leaf.reads_files
    return built


def app() -> Group:
    """`dv` with all its commands."""
    return Group("dv", ROOT)
