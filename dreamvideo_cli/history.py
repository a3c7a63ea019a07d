"""What happened to a name, how two versions differ, and giving a name another one."""

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.descriptions import adapter_document, label
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.options import Kind, Shell
from dreamvideo_cli.output import print_json, print_lines, print_result, say, table
from dreamvideo_cli.settings import open_registry

if TYPE_CHECKING:
    from registry.history import Happened

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORT_DIGEST = 12


def rename_adapter(
    kind: Kind,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name now.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name that was never used.")],
    shell: Shell,
) -> None:
    """Rename a KIND: versions, tags and log go along, and digests stay.

    Example: dv KIND rename OLD NEW
    """
    store = open_registry(shell.registry)
    store.rename(old, new, kind)
    rows = store.list(kind, new, all_versions=True).rows
    print_result(shell, [adapter_document(row) for row in rows], [str(row) for row in rows])


def show_log(
    kind: Kind,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name.")],
    shell: Shell,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Where the tags were then: a date, a time, yesterday, or 'last tuesday'.",
        ),
    ] = None,
) -> None:
    """Tell what happened to a KIND, and where its tags were.

    Example: dv KIND log NAME --at "last tuesday"
    """
    store = open_registry(shell.registry)
    if at is not None:
        when = read_time(at, datetime.now(UTC).astimezone())
        places = store.places_at(name, kind, when)
        lines = [f"{name}:{tag} -> {name}:v{version}" for tag, version in places.items()]
        document = {"schema": "dv.places/1", "kind": kind, "name": name, "at": when.isoformat()}
        print_result(shell, {**document, "tags": places}, lines)
        if not places:
            say(shell, f"{name} had no version then")
        return
    log = store.log(name, kind)
    if shell.json:
        print_json([_event_document(happened) for happened in log])
    else:
        print_lines(f"{each.at[:10]} {each.at[11:19]}  {_told(each)}" for each in log)


def show_difference(
    kind: Kind,
    left: Annotated[str, typer.Argument(metavar="REF", help="A version.")],
    right: Annotated[str, typer.Argument(metavar="REF", help="The version to compare it with.")],
    shell: Shell,
) -> None:
    """Compare two versions of a KIND: settings, inputs, scores and files.

    Example: dv KIND diff NAME:prev NAME:latest
    """
    store = open_registry(shell.registry)
    pair = [store.resolve(ref, kind=kind) for ref in (left, right)]
    found = store.diff(*pair)
    if shell.json:
        rows = [{"field": each.field, "left": each.left, "right": each.right} for each in found]
        refs = {"left": str(pair[0]), "right": str(pair[1])}
        print_json({"schema": "dv.difference/1", **refs, "differences": rows})
    else:
        cells = [(each.field, _cell(each.left), _cell(each.right)) for each in found]
        print_lines(table(("FIELD", label(pair[0]), label(pair[1])), cells))
        if not cells:
            say(shell, "no difference")


def read_time(text: str, now: datetime) -> datetime:
    """A time as a person writes it; a day means its end.

    Args:
        text: ISO 8601, ``today``, ``yesterday``, or a weekday, which is the last one before today.
        now: with its zone.

    Raises:
        UsageError: it is none of these.
    """
    word = text.strip().lower().removeprefix("last ")
    days = {"today": 0, "now": 0, "yesterday": 1}
    days |= {name: (now.weekday() - k - 1) % 7 + 1 for k, name in enumerate(WEEKDAYS)}
    try:
        found = now - timedelta(days=days[word]) if word in days else datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        hint = "for example 2026-01-31, 2026-01-31T12:00, yesterday or tuesday"
        raise UsageError(f"--at {text!r} is no time", hint=hint) from error
    is_day = word in days or len(text.strip()) <= len("2026-01-31")
    found = found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    return datetime.combine(found.date(), time.max, found.tzinfo) if is_day else found


def _event_document(happened: "Happened") -> dict[str, Any]:
    from dataclasses import asdict

    return {"schema": "dv.event/1", **asdict(happened)}


def _told(happened: "Happened") -> str:
    """What happened as a line for people."""
    version = f"v{happened.version}"
    digest = f" @{happened.digest[:SHORT_DIGEST]}" if happened.digest else ""
    tags = f" ({' '.join(happened.tags)})" if happened.tags else ""
    was = f", was v{happened.was}" if happened.was else ""
    return {
        "publish": f"publish  {version}{digest}",
        "remove": f"remove   {version}{tags}",
        "restore": f"restore  {version}{tags}",
        "rename": f"rename   {happened.old} -> {happened.new}",
        "tag": f"tag      {happened.tag} -> {version}{was}",
        "untag": f"untag    {happened.tag}, was {version}",
    }[happened.event]


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text[:SHORT_DIGEST] if len(text) == 64 else text
