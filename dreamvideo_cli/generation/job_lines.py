"""The lines of `--jobs`: each a JSON object that says what the flags of `dv gen` would."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, get_type_hints

import msgspec
from msgspec import Meta

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.options import VideoOptions
from dreamvideo_cli.generation.references import split_weight

MOST_LINE_BYTES = 1 << 20
MOST_JOBS = 100_000
OTHER_NAMES = {"out": "output", "o": "output"}

# Flags of `dv gen` that hold for all lines, and those that a line may give in another form too.
FOR_ALL = {"jobs", "keep_going", "dry_run", "batch", "anyway"}
OTHER_FORMS: Mapping[str, Any] = {
    **dict.fromkeys(("subject", "motion", "reference"), str | list[str]),
    "appearance": float | str,
    "seed": int | str,
    "scale": Annotated[int, Meta(ge=1, le=16)],
}
TYPES: Mapping[str, Any] = {
    "id": Annotated[str, Meta(min_length=1, max_length=200)] | int,
    "weights": dict[str, Annotated[float, Meta(ge=0.0, le=10.0)]],
    **{n: hint for n, hint in get_type_hints(VideoOptions).items() if n not in FOR_ALL},
    **OTHER_FORMS,
}
_Line = msgspec.defstruct("_Line", [(name, hint | None, None) for name, hint in TYPES.items()])


@dataclass(frozen=True, slots=True)
class Job:
    """One line: the flags of `dv gen` by their names; what it leaves out is as on the command line."""

    id: str | int | None  # names the line in results and errors; None leaves it the line's number
    given: Mapping[str, Any]  # by the names of `VideoOptions`
    weights: Mapping[str, float]  # by reference, as the line or the flags write it


def read_lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number, from 0, and text of each line that is not blank, as soon as it is there.

    Raises:
        UsageError: a line, or their number, is beyond any use.
    """
    number = 0
    while line := source.readline(MOST_LINE_BYTES + 1):
        if len(line) > MOST_LINE_BYTES:
            hint = "one JSON object a line, ended by a line feed"
            raise UsageError(f"line {number + 1} is over {MOST_LINE_BYTES} bytes", hint=hint)
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            yield number, text
            number += 1
        if number > MOST_JOBS:
            raise UsageError(f"more than {MOST_JOBS} jobs", hint="split the file")


def read_job(line: bytes) -> Job:
    """One line as a job.

    Raises:
        UsageError: it is no JSON object, or a field's name or value cannot be used.
    """
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"no JSON: {error}", hint='for example {"prompt": "a cat"}') from error
    if not isinstance(found, dict):
        raise UsageError("no JSON object", hint='for example {"prompt": "a cat", "seed": 3}')
    fields: dict[str, Any] = {}
    for written, value in found.items():
        name = _field_name(written)
        if name in fields:
            raise UsageError(f"{written!r} is there twice, under two spellings")
        fields[name] = value
    try:
        checked = msgspec.structs.asdict(msgspec.convert(fields, _Line))
    except msgspec.ValidationError as error:
        raise UsageError(_reason(str(error), fields)) from error
    given = {name: value for name, value in checked.items() if value is not None}
    return Job(given.pop("id", None), weights=given.pop("weights", {}), given=given)


def merge_options(job: Job, given: VideoOptions) -> VideoOptions:
    """The job's fields over the flags of the command line.

    Raises:
        UsageError: a weight is given to what does not take part.
    """
    own = dict(job.given)
    for name in ("seed", "appearance"):
        own[name] = str(own[name]) if name in own else getattr(given, name)
    for kind in ("subject", "motion", "reference"):
        texts = own.get(kind, getattr(given, kind))
        own[kind] = [texts] if isinstance(texts, str) else texts
    refs = [*(own["subject"] or []), *(own["motion"] or [])]
    for ref in job.weights:
        if ref not in refs:
            near = difflib.get_close_matches(ref, refs, n=1)
            hint = f"did you mean {near[0]}?" if near else "write it as in subject or motion"
            raise UsageError(f"weights names {ref!r}, which takes no part", hint=hint)
    for kind in ("subject", "motion"):
        own[kind] = own[kind] and [_weighted(text, job.weights) for text in own[kind]]
    return dataclasses.replace(given, **own)


def _weighted(text: str, weights: Mapping[str, float]) -> str:
    return f"{split_weight(text)[0]}={weights[text]:g}" if text in weights else text


def _field_name(written: str) -> str:
    """The field that is meant: a flag's name with ``-`` or ``_``."""
    name = written.replace("-", "_")
    name = OTHER_NAMES.get(name, name)
    if name not in TYPES:
        near = difflib.get_close_matches(name, TYPES, n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(TYPES)
        raise UsageError(f"unknown field {written!r}", hint=hint)
    return name


def _reason(complaint: str, fields: dict[str, Any]) -> str:
    """Msgspec's ``Expected `int`, got `str` - at `$.steps``` with the field and its value."""
    reason, _, where = complaint.partition(" - at `$.")
    name = where.rstrip("`").partition("[")[0]
    value = json.dumps(fields.get(name), ensure_ascii=False)[:80]
    return f"{name} is {value}: {reason[0].lower()}{reason[1:].replace('`', '')}"
