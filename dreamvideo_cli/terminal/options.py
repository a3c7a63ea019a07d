"""Options that several commands share, declared once as groups of fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
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


Kind = Literal["subject", "motion"]
ProgressMode = Literal["auto", "bar", "plain", "json", "none"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Check all, show the plan, stop.")]


def _everywhere(*names: str, help: str, **settings: Any) -> Any:  # noqa: A002 - Typer's word
    """An option that stands apart in every help; `dv help environment` lists the variables."""
    return typer.Option(
        *names,
        help=help,
        rich_help_panel=EVERYWHERE,
        show_envvar=False,
        show_default=False,
        **settings,
    )


@dataclass(frozen=True, slots=True)
class Shell:
    """How a command talks: every command takes these."""

    json: Annotated[bool, _everywhere("--json", help="Print the result as JSON.")] = False
    quiet: Annotated[bool, _everywhere("--quiet", "-q", help="Say only the result and errors.")] = (
        False
    )
    verbose: Annotated[bool, _everywhere("--verbose", "-v", help="Say more on stderr.")] = False
    full: Annotated[bool, _everywhere("--full", help="Print digests whole on a terminal too.")] = (
        False
    )
    registry: Annotated[
        Path | None,
        _everywhere(metavar="DIR", envvar="DV_REGISTRY", help="The registry's folder."),
    ] = None
    no_input: Annotated[
        bool, _everywhere("--no-input", envvar="DV_NO_INPUT", help="Never ask a question.")
    ] = False
    progress: Annotated[
        ProgressMode,
        _everywhere(
            metavar="MODE",
            envvar="DV_PROGRESS",
            help="auto, bar, plain, json or none, on stderr.",
        ),
    ] = "auto"


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
        run.__doc__ = run.__doc__.replace(name.upper(), str(value))
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
        for field in fields(group):
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )


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
