"""The lines of `--jobs`: each a JSON object that says what the flags of `dv gen` would."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec import Meta, Struct

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.references import split_weight

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import VideoOptions

MOST_LINE_BYTES = 1 << 20
MOST_JOBS = 100_000
OTHER_NAMES = {"out": "output", "o": "output"}

Weight = Annotated[float, Meta(ge=0.0, le=10.0)]


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: the flags of `dv gen` by their names; what it leaves out is as on the command line.

    ``id`` names the line in results and errors, by default it is the line's number; ``weights`` maps references, as
    they are written here, to weights.
    """

    id: Annotated[str, Meta(min_length=1, max_length=200)] | int | None = None
    prompt: str | None = None
    subject: str | list[str] | None = None
    motion: str | list[str] | None = None
    weights: dict[str, Weight] = {}
    negative: str | None = None
    frames: int | None = None
    fps: float | None = None
    size: str | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_low: float | None = None
    guidance_from: float | None = None
    guidance_until: float | None = None
    identity_from: float | None = None
    identity_early: float | None = None
    motion_until: float | None = None
    sampler: Literal["ddim", "dpm++", "unipc", "euler"] | None = None
    shift: float | None = None
    accelerator: str | None = None
    appearance: float | str | None = None
    edit: str | None = None
    animate: str | None = None
    camera: Literal["still", "in", "out", "left", "right", "up", "down"] | None = None
    noise: float | None = None
    start_from: str | None = None
    refine: int | None = None
    structure: str | None = None
    structure_model: str | None = None
    structure_kind: Literal["canny", "luma", "depth", "as-is"] | None = None
    depth_model: str | None = None
    structure_scale: float | None = None
    structure_from: float | None = None
    structure_until: float | None = None
    reference: str | list[str] | None = None
    reference_mask: str | None = None
    reference_blocks: Literal["midup", "full"] | None = None
    reference_until: float | None = None
    reference_guidance: Literal["cond", "both"] | None = None
    output: str | None = None
    format: Literal["mp4", "gif", "webp", "png"] | None = None
    overwrite: bool | None = None
    sidecar: bool | None = None
    scale: Annotated[int, Meta(ge=1, le=16)] | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] | None = None
    memory: Literal["low", "auto", "high"] | None = None
    device: str | None = None
    base: str | None = None
    image_tower: str | None = None
    motion_module: str | None = None
    seed: int | str | None = None
    count: int | None = None
    again: str | None = None


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
        return msgspec.convert(fields, Job)
    except msgspec.ValidationError as error:
        raise UsageError(_reason(str(error), fields)) from error


def merge_options(job: Job, given: VideoOptions) -> VideoOptions:
    """The job's fields over the flags of the command line.

    Raises:
        UsageError: a weight is given to what does not take part.
    """
    own = {
        name: value
        for name in Job.__struct_fields__
        if name not in {"id", "weights"} and (value := getattr(job, name)) is not None
    }
    own["seed"] = given.seed if job.seed is None else str(job.seed)
    own["appearance"] = given.appearance if job.appearance is None else str(job.appearance)
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


def _weighted(text: str, weights: dict[str, float]) -> str:
    return f"{split_weight(text)[0]}={weights[text]:g}" if text in weights else text


def _field_name(written: str) -> str:
    """The field that is meant: a flag's name with ``-`` or ``_``."""
    name = written.replace("-", "_")
    name = OTHER_NAMES.get(name, name)
    if name not in Job.__struct_fields__:
        near = difflib.get_close_matches(name, Job.__struct_fields__, n=1)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(Job.__struct_fields__)
        raise UsageError(f"unknown field {written!r}", hint=hint)
    return name


def _reason(told: str, fields: dict[str, Any]) -> str:
    """Msgspec's ``Expected `int`, got `str` - at `$.steps``` with the field and its value."""
    reason, _, where = told.partition(" - at `$.")
    name = where.rstrip("`").partition("[")[0]
    value = json.dumps(fields.get(name), ensure_ascii=False)[:80]
    return f"{name} is {value}: {reason[0].lower()}{reason[1:].replace('`', '')}"
