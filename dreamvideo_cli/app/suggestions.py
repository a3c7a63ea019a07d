"""Typer's complaints in our words, with what was meant: plausible, or nothing. Loaded once something failed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from dreamvideo_cli.app.tree import Branch
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.options import Shell, option_names
from registry.ref import either

SHARED = {name for each in fields(Shell) for name in option_names(each)}

# Below this likeness, of 0 to 1, two words have letters in common and nothing else.
LIKENESS = 0.7


def _by_other_name(others: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Our names, those before others first, by each word that other tools use in their place."""
    words = dict.fromkeys(word for text in others.values() for word in text.split())
    return {
        word: tuple(ours for ours, text in others.items() if word in text.split()) for word in words
    }


# What other tools call our commands; of several the nearest that is there.
COMMANDS = _by_other_name(
    {
        "gen": "generate make create compose sample render",
        "learn": "create train finetune add new",
        "list": "ls search",
        "runs list": "ps status",
        "resume": "continue",
        "rm": "remove delete del",
        "restore": "undo",
        "rename": "mv",
        "log": "history",
        "show": "get info describe",
        "export": "save share push",
        "import": "load pull",
        "grid": "compare",
        "diff": "compare",
        "eval": "score evaluate",
        "bench": "benchmark",
        "gc": "prune clean",
        "verify": "check",
        "doctor": "check",
        "config": "settings",
        "base": "models",
        "--install-completion": "completion completions",
        "--version": "version",
    }
)
# What other tools call our options; those that the command has are named.
OPTIONS = _by_other_name(
    {
        "--subject": "adapter lora",
        "--motion": "adapter lora",
        "--base": "model checkpoint",
        "--size": "width height resolution",
        "--guidance": "cfg cfg-scale",
        "--weights": "scale",
        "--sampler": "scheduler",
        "--frames": "num-frames length",
        "--steps": "num-inference-steps epochs iterations max-steps",
        "--lr": "learning-rate",
        "--batch": "batch-size",
        "--precision": "dtype",
        "--device": "gpu cpu",
        "--class": "type caption description text prompt",
        "--caption": "class type description text prompt",
        "--actor": "class",
        "--count": "n num number",
        "--output": "file dir dest",
        "--overwrite": "force",
        "--yes": "force",
        "--move": "force",
        "--fresh": "force",
        "--max-time": "timeout",
        "--again": "replay",
        "--jobs": "batch",
    }
)

# Typer's words for a value that cannot be, and ours.
WORDINGS: Sequence[tuple[str, str]] = (
    (r"^Invalid value for '(?:-\w / |-\w, )?([^']+)': ", r"\1: "),
    (r"is not a valid float(?: range)?$", "is not a number"),
    (r"is not a valid int(?: range)?$", "is not a whole number"),
    (r"is not in the range x>=(\S+)$", r"is less than \1"),
    (r"is not in the range (\S+?)<=x<=(\S+?)$", r"is not from \1 to \2"),
    (r"^Got unexpected extra argument\(s\) \((.*)\)$", r"too many arguments: \1"),
    (r"^Missing (argument|option) '?([^']+)'?$", r"\2 is missing"),
    (r"^Option '([^']+)' requires an argument$", r"\1 needs a value"),
    (r"^Option '([^']+)' does not take a value$", r"\1 takes no value"),
    (r"^No such option: (\S+).*$", r"there is no option \1"),
)


def translate(error: BaseException) -> BaseException:
    """Turn an error of Typer's into a `UsageError` with a hint; any other error is returned as it is."""
    if isinstance(error, typer.Abort):
        return UsageError("given up")
    if not isinstance(error, typer.TyperException):
        return error
    context: Any = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    if getattr(error, "possibilities", None) is not None:
        message = str(getattr(error, "message", message))
    hint = f"{context.command_path} --help" if context else None
    hint = (context and _usage_hint(error, context, message)) or hint
    return UsageError(plain_words(message), hint=hint)


def _usage_hint(error: typer.TyperException, context: Any, message: str) -> str | None:
    """What would do, where more can be said than how to get help."""
    option = getattr(error, "option_name", None)
    if option in SHARED and isinstance(context.command, TyperGroup):
        return f"options stand behind the command: {context.command_path} COMMAND {option}"
    if option and getattr(error, "possibilities", None) is not None:
        return option_hint(str(option), context)
    if message.startswith("Missing ") or "requires an argument" in message:
        return _find_example(context.command)
    if message.startswith("Got unexpected extra argument"):
        return _quoted_prompt(context, message) or _find_example(context.command)
    return None


def _quoted_prompt(context: Any, message: str) -> str | None:
    """A sentence without quotes comes as a prompt, and words that nobody takes stand in the message."""
    if not context.params.get("prompt"):
        return None
    sentence = f"{context.params['prompt']} {message.partition('(s) (')[2].removesuffix(')')}"
    return f"a prompt of several words is quoted: {context.command_path} {shlex.quote(sentence)}"


def _find_example(command: Any) -> str | None:
    """The example in a command's help."""
    _, found, example = (command.help or "").partition("Example: ")
    return f"for example: {example.splitlines()[0]}" if found else None


def command_meant(branch: Branch, path: str, typed: str) -> list[str]:
    """Commands called so further down, or so by other tools, or nearly so; whole, as they are typed."""
    for name in (typed, *COMMANDS.get(typed, ())):
        if found := _places(branch, path, name):
            return found
    begun = [each for each in branch.entries if len(typed) > 1 and each.startswith(typed)]
    near = begun or get_close_matches(typed, branch.entries, n=1, cutoff=LIKENESS)
    return [f"{path} {each}" for each in near]


def _places(branch: Branch, path: str, name: str) -> list[str]:
    """Where a command of that name is: in the group, or in one of its groups."""
    group, _, verb = name.partition(" ")
    if group in branch.entries or any(name in names.split() for names in branch.options):
        return [f"{path} {name}"] if not verb or _has(branch, group, verb) else []
    return [f"{path} {each} {name}" for each in branch.entries if _has(branch, each, name)]


def _has(branch: Branch, group: str, verb: str) -> bool:
    entry = branch.entries[group]
    return isinstance(entry, Branch) and verb in entry.entries


def option_hint(typed: str, context: Any) -> str | None:
    """What to type in place of an option that the command does not have, as a hint; None where nothing is likely."""
    params = context.command.get_params(context)
    word = typed.lstrip("-").partition("=")[0]
    arguments = {param.name: param for param in params if param.param_type_name == "argument"}
    if word in arguments:
        named = arguments[word].make_metavar(context)
        return f"{named} stands without an option: {context.command_path} {named}"
    known = [name for param in params for name in param.opts if name.startswith("--")]
    if word in {"weight", "strength", "scale"} and "--weights" not in known and "--jobs" in known:
        return "a weight stands behind a reference: --subject NAME=0.8"
    if "--set" in known and (field := _field_of_recipe(context.command_path, word)):
        return f"write it as --set {field}=VALUE"
    meant = option_meant(word, known)
    return f"did you mean {either(meant)}?" if meant else None


def option_meant(word: str, known: Sequence[str]) -> list[str]:
    """Of the options ``known``: what begins so, what other tools call so, or the one that is written nearly so."""
    if begun := [name for name in known if len(word) > 1 and name.startswith(f"--{word}")]:
        return begun
    if named := [name for name in OPTIONS.get(word, ()) if name in known]:
        return named
    plain = [name[2:] for name in known]
    return [f"--{each}" for each in get_close_matches(word, plain, n=1, cutoff=LIKENESS)]


def _field_of_recipe(path: str, word: str) -> str | None:
    """The field of a recipe that `--set` could change, where somebody takes it for an option."""
    from engine.recipe import MotionRecipe, SubjectRecipe

    recipe = MotionRecipe if "motion" in path.split() else SubjectRecipe
    field = word.replace("-", "_")
    return field if field in recipe.__struct_fields__ else None


def plain_words(complaint: str) -> str:
    """Typer's complaint in the words that we use elsewhere."""
    for pattern, ours in WORDINGS:
        complaint = re.sub(pattern, ours, complaint)
    return complaint
