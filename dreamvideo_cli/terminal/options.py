"""Options that several commands share, declared once as groups of fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

OPTIONS, EVERYWHERE = "Options", "With every command"
# Headings for what few people need, behind what everybody does.
TRAINING, RUNNING = "Training", "Stopping and going on"
SAMPLING = "Sampling, by default as the base's card says"
SOURCES = "Photos and clips that a video is made from"
OUTPUT, MACHINE = "Output", "Memory and device"
FOREIGN = "Files of other tools"
SECTIONS = (
    *("Arguments", OPTIONS, SOURCES, FOREIGN, SAMPLING, TRAINING, RUNNING, OUTPUT, MACHINE),
    EVERYWHERE,
)


Kind = Literal["subject", "motion", "accelerator"]
ProgressMode = Literal["auto", "bar", "plain", "json", "none"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Check all, show the plan, stop.")]


def option(
    help: str,  # noqa: A002 - Typer's word
    *names: str,
    default: Any = None,
    panel: str | None = None,
    **settings: Any,
) -> Any:
    """A field of a dataclass that `command` spreads: an option of that name, and what Typer is told of it."""
    typed = typer.Option(*names, help=help, rich_help_panel=panel, **settings)
    return field(default=default, metadata={"option": typed})


# Options that stand apart in every help; `dv help environment` lists the variables.
_everywhere = partial(option, panel=EVERYWHERE, show_envvar=False, show_default=False)


@dataclass(frozen=True, slots=True)
class Shell:
    """How a command talks: every command takes these."""

    json: bool = _everywhere("Print the result as JSON.", default=False)
    quiet: bool = _everywhere("Say only the result and errors.", "--quiet", "-q", default=False)
    verbose: bool = _everywhere("Say more on stderr.", "--verbose", "-v", default=False)
    full: bool = _everywhere("Print digests whole on a terminal too.", default=False)
    registry: Path | None = _everywhere(
        "The registry's folder.", metavar="DIR", envvar="DV_REGISTRY"
    )
    no_input: bool = _everywhere("Never ask a question.", default=False, envvar="DV_NO_INPUT")
    progress: ProgressMode = _everywhere(
        "auto, bar, plain, json or none, on stderr.",
        default="auto",
        metavar="MODE",
        envvar="DV_PROGRESS",
    )


def command(function: Callable[..., None], **fixed: Any) -> Callable[..., None]:
    """``function`` as Typer can register it.

    A parameter whose type is a dataclass is replaced by the dataclass's fields; ``fixed`` parameters are filled in and
    their names, in capitals, replaced in the help text.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if is_dataclass(parameter.annotation)
    }

    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        function(**given, **fixed)

    run.__name__ = function.__name__
    run.__doc__ = inspect.cleandoc(function.__doc__ or "")
    for name, value in fixed.items():
        run.__doc__ = filled(run.__doc__, name, str(value))
    spread = _spread(parameters.values(), fixed)
    run.__signature__ = inspect.Signature(list(spread))  # type: ignore[attr-defined]
    return run


def _spread(
    parameters: Iterable[inspect.Parameter], fixed: Mapping[str, object]
) -> Iterator[inspect.Parameter]:
    """The parameters that the shell sees: the command's own first, then each group's fields."""
    seen = [parameter for parameter in parameters if parameter.name not in fixed]
    for parameter in seen:
        if not is_dataclass(parameter.annotation):
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for group in (parameter.annotation for parameter in seen if is_dataclass(parameter.annotation)):
        hints = get_type_hints(group, include_extras=True)
        for each in fields(group):
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            annotation = _annotated(each, hints[each.name])
            yield inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )


def _annotated(found: Field[Any], hint: Any) -> Any:
    """The type of a field with its option; a switch gets no second name that turns it off."""
    if (typed := found.metadata.get("option")) is None:
        return hint
    if hint is bool:
        typed.param_decls = option_names(found)
    return Annotated[hint, typed]


def filled(text: str, name: str, value: str) -> str:
    """A text with a value where its name stands in capitals, with the article that goes with it."""
    article = "an" if value[0] in "aeiou" else "a"
    return text.replace(f"a {name.upper()}", f"{article} {value}").replace(name.upper(), value)


def option_names(found: Field[Any]) -> tuple[str, ...]:
    """What a field of a group is called on the command line."""
    return found.metadata["option"].param_decls or (f"--{found.name.replace('_', '-')}",)


MotionModule = Annotated[
    str | None,
    typer.Option(
        "--motion-module",
        metavar="DIR|ID",
        help="AnimateDiff's motion module, where --base is an image model.",
        rich_help_panel=MACHINE,
    ),
]
Anyway = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Go on where it will take hours, as with a large base on a CPU.",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda[:N]|mps",
        envvar="DV_DEVICE",
        help="Where to compute.",
        rich_help_panel=MACHINE,
    ),
]
ImageTower = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|ID",
        help="CLIP image tower of a base without one.",
        rich_help_panel=MACHINE,
    ),
]
Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What is to be seen; names stand for adapters.")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Tag the new version; repeatable."),
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Your own words about it.")]
MaxTime = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Save and stop by then, such as 55m.",
        rich_help_panel=RUNNING,
    ),
]
Removing = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would go.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that -o names.")]
