"""The adapters that take part in a video: pinned, unbroken, and all of one base."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.exchange.imports import foreign_explained
from dreamvideo_cli.generation.parse import read_number
from dreamvideo_cli.settings.places import default_base, locate, runs_folder
from engine.bases import folder
from engine.bases.checks.weights import require_whole
from engine.errors import BaseNotFoundError, IncompatibleError
from registry import NotFoundError, is_path, open_registry
from registry.errors import RegistryError
from registry.strangers.importing import look_into
from registry.strangers.loose import METADATA_KEY

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import SamplingOptions
    from engine.adapters.file import Kind as AdapterKind
    from engine.adapters.uses import AdapterUse
    from engine.bases import BaseLocation
    from registry import Adapter, Kind, Registry

GREATEST_WEIGHT = 10.0
TOOL = f"dv {__version__}"
FILE_ENDS = (".dva", ".safetensors")
WORD_TENSOR = "word.vector"  # in an adapter's file; (d,) or (n, d)
LEARNED: tuple[Kind, ...] = ("subject", "motion")
UNNAMED = "file"  # an adapter's file that says no name


@dataclass(frozen=True, slots=True)
class WeightedAdapter:
    """An adapter that takes part: pinned, its file's bytes checked."""

    asked: str  # the reference as typed
    adapter: Adapter  # what it stands for
    weight: float  # 1 is what was learned, 0 the base
    file: Path  # the weights

    @property
    def label(self) -> str:
        """``corgi:v3``, for people."""
        return f"{self.adapter.name}:v{self.adapter.version}"

    @property
    def phrase(self) -> str:
        """The token of a subject, or what it is a kind of where it has no word; the caption of a motion."""
        record = self.adapter.record
        if self.adapter.kind == "motion":
            return record.caption or ""
        return record.token or record.class_word or ""

    def as_engine_use(self) -> AdapterUse:
        """The same without a name, as the engine takes it."""
        from engine.adapters.uses import AdapterUse

        kind: AdapterKind = "motion" if self.adapter.kind == "motion" else "subject"
        return AdapterUse(self.file, kind, self.weight)

    def count_places(self, base: BaseLocation) -> int:
        """Tokens of a prompt that a subject's word takes: one a vector, and as an offset those of the class word."""
        from engine.bases.checks.wording import count_tokens

        if base.family.word_at == "output":
            return count_tokens(base, self.adapter.record.class_word or "")
        shape = self.header.get(WORD_TENSOR, {}).get("shape", ())
        return int(shape[0]) if len(shape) == 2 else 1

    @property
    def facts(self) -> dict[str, Any]:
        """What its file says of how it was learned; nothing where it says nothing."""
        text = self.header.get("__metadata__", {}).get(METADATA_KEY, "{}")
        return {"recipe": {}, "inputs": [], **json.loads(text)}

    @property
    def header(self) -> dict[str, Any]:
        """What its file says of its tensors and itself; nothing where it is broken, of which whoever loads it tells."""
        try:
            return folder.read_header(self.file)[0]
        except (OSError, ValueError):
            return {}


class AdapterResolver:
    """What was found in a registry so far: each file is hashed once, however many videos it takes part in."""

    def __init__(self, store: Registry) -> None:
        self.store = store
        self._files: dict[str, Path] = {}
        self._opened: dict[tuple[Kind, str], tuple[Adapter, Path]] = {}
        self._whole: set[str] = set()

    def find(self, kind: Kind, ref: str) -> tuple[Adapter, Path]:
        """What a reference means now, or the adapter in a file, with the weights.

        Raises:
            UsageError: a file of another kind or of several.
        """
        if is_path(ref):
            return self._open(kind, ref)
        try:
            return self.weights(self.store.resolve(ref, kind=kind))
        except NotFoundError as error:
            error.hint = _unfinished(self.store, kind, ref) or error.hint
            raise

    def weights(self, adapter: Adapter) -> tuple[Adapter, Path]:
        """An adapter with its weights, their bytes checked."""
        if adapter.digest not in self._files:
            self._files[adapter.digest] = self.store.files(adapter)["weights"]
        return adapter, self._files[adapter.digest]

    def require_whole(self, base: BaseLocation) -> None:
        """Look once whether a base's folder is whole."""
        if base.fingerprint not in self._whole:
            require_whole(base)
            self._whole.add(base.fingerprint)

    def _open(self, kind: Kind, path: str) -> tuple[Adapter, Path]:
        if (kind, path) not in self._opened:
            place = _open_file(Path(path), kind)
            adapter = place.list(kind).rows[0]
            self._opened[kind, path] = adapter, place.files(adapter)["weights"]
        return self._opened[kind, path]


def _unfinished(store: Registry, kind: Kind, name: str) -> str | None:
    """Where the run stands that learns what is not there yet, as a hint; None where none does."""
    from dreamvideo_cli.runs.folders import runs_for, state_of

    runs = runs_for(runs_folder(), kind, name, store.layout.root)
    state = state_of(runs[-1]) if runs else None
    if state == "running":
        return f"it is being learned: dv runs show {runs[-1].id}"
    return f"learning it was stopped: dv runs resume {runs[-1].id}" if state == "stopped" else None


def resolve_adapters(
    resolver: AdapterResolver, kind: Kind, texts: Sequence[str]
) -> tuple[WeightedAdapter, ...]:
    """Pin each reference; a file of an adapter does as well.

    Raises:
        UsageError: a weight that is no number in range.
    """
    uses = []
    for text in texts:
        ref, weight = split_weight(text)
        adapter, file = resolver.find(kind, ref)
        uses.append(WeightedAdapter(ref, adapter, weight, file))
    return tuple(uses)


def _open_file(path: Path, kind: Kind) -> Registry:
    """A registry for this process alone, with the one adapter of that kind that a file holds."""
    import atexit
    import tempfile

    place = path.expanduser().absolute()
    with foreign_explained(place):
        found = look_into(place, tool=TOOL)
    kinds = [each.kind for each in (found if isinstance(found, tuple) else [found])]
    if kinds.count(kind) != 1:
        message = f"{path} holds {kinds.count(kind)} {kind}s, and one is wanted"
        raise UsageError(message, hint=f"dv inspect {path}")
    folder = tempfile.mkdtemp(prefix="dv-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = open_registry(Path(folder) / "registry")
    name = None if isinstance(found, tuple) else found.name or UNNAMED
    store.import_file(place, tool=TOOL, name=name)
    return store


def has_weight(text: str) -> bool:
    """Whether a reference is written with a weight; a file's name may hold ``=`` itself."""
    return "=" in text and not text.endswith(FILE_ENDS)


def split_weight(text: str) -> tuple[str, float]:
    """``corgi:best=0.8`` to the reference and its weight, which is 1 where none is given.

    Raises:
        UsageError: the weight is not a number from 0 to 10.
    """
    ref, _, written = text.rpartition("=")
    if not has_weight(text):
        ref, written = text, "1"
    weight = read_number(written, GREATEST_WEIGHT)
    if weight is None:
        hint = "1 is what was learned, 0 leaves it out"
        raise UsageError(
            f"the weight of {ref} is {written!r}, not a number from 0 to 10", hint=hint
        )
    return ref, weight


def refuse_clashing_words(uses: Sequence[WeightedAdapter]) -> None:
    """Two subjects with one learned word would both answer to it.

    Raises:
        UsageError: an adapter is named twice.
        IncompatibleError: naming both.
    """
    by_ref: dict[object, WeightedAdapter] = {}
    by_token: dict[str, WeightedAdapter] = {}
    for use in uses:
        if by_ref.setdefault(use.adapter.ref, use) is not use:
            raise UsageError(
                f"{use.label} is named twice", hint=f"--{use.adapter.kind} {use.label}=WEIGHT"
            )
        token = use.adapter.record.token
        if use.adapter.kind == "motion" or not token:
            continue
        other = by_token.setdefault(token, use)
        if other is not use:
            raise IncompatibleError(
                f"{other.label} and {use.label} both answer to {use.phrase}",
                hint="leave one out, or learn it again under another name",
                code="word.clash",
            )


def find_base(uses: Sequence[WeightedAdapter], options: SamplingOptions) -> BaseLocation:
    """The base the adapters were learned on; without adapters the one asked for, or the default.

    Raises:
        IncompatibleError: adapters of two bases, or another base is asked for; both are named.
        BaseNotFoundError: it is not on this machine.
    """
    if not uses:
        return locate_base(options, default_base())
    first = uses[0]
    for use in uses[1:]:
        if use.adapter.record.base_fingerprint != first.adapter.record.base_fingerprint:
            raise _other_base(first, use.label, *_named_base(use))
    location = _locate_for(first, options)
    if location.fingerprint != first.adapter.record.base_fingerprint:
        raise _other_base(first, "the base here", location.id, location.fingerprint)
    return location


def _named_base(use: WeightedAdapter) -> tuple[str, str]:
    return use.adapter.record.base_id, use.adapter.record.base_fingerprint


def locate_base(options: SamplingOptions, name: str) -> BaseLocation:
    """The base that is asked for, else the one called ``name``, with what is asked for beside it."""
    return locate(options.base or name, options.image_tower, options.motion_module)


def _locate_for(use: WeightedAdapter, options: SamplingOptions) -> BaseLocation:
    """The base of an adapter, at its own place or where the caller says it is."""
    base_id = use.adapter.record.base_id
    try:
        return locate_base(options, base_id)
    except BaseNotFoundError as error:
        if options.base is None and base_id.startswith("mini@"):
            message = f"{use.label} was learned on {base_id}: {error.message}"
            raise IncompatibleError(message, hint=error.hint, code="base.mismatch") from error
        if options.base is None and folder.is_path(base_id):
            hint = f"{use.label} needs it; --base DIR says where it lies now"
            raise BaseNotFoundError(error.message, hint=hint) from error
        raise


def _other_base(first: WeightedAdapter, what: str, base_id: str, fingerprint: str) -> Exception:
    own_id, own_fingerprint = _named_base(first)
    return IncompatibleError(
        f"{first.label} was learned on {own_id} ({own_fingerprint[:12]}), "
        f"and {what} is {'of ' if ':v' in what else ''}{base_id} ({fingerprint[:12]})",
        hint="adapters only fit the base they were learned on; learn again on the other one",
        code="base.mismatch",
    )


WORD = re.compile(r"\w+(?:[.-]\w+)*")
MOST_WORDS = 100  # a prompt is a sentence; a pasted book is not looked up word by word


def find_unused_adapters(
    store: Registry, prompt: str, uses: Sequence[WeightedAdapter]
) -> list[tuple[Kind, str]]:
    """Kind and name of each adapter that a whole word of the prompt names, but for words that stand for a use."""
    taken = {use.adapter.name for use in uses}
    words = dict.fromkeys(match.group().lower() for match in WORD.finditer(prompt))
    return [
        (kind, word)
        for kind in LEARNED
        for word in list(words)[:MOST_WORDS]
        if word not in taken and _is_there(store, kind, word)
    ]


def unused_note(unused: Sequence[tuple[Kind, str]], arguments: Sequence[str]) -> str:
    """One line: who is there, and the command line ``arguments`` with them."""
    who = " and ".join(f"the {kind} {name}" for kind, name in unused)
    verb, them = ("is", "it") if len(unused) == 1 else ("are", "them")
    flags = [part for kind, name in unused for part in (f"--{kind}", name)]
    # Behind `--` nothing is a flag any more.
    at = arguments.index("--") if "--" in arguments else len(arguments)
    line = shlex.join(["dv", *arguments[:at], *flags, *arguments[at:]])
    return f"hint: {who} {verb} not used; with {them}: {line}"


def _is_there(store: Registry, kind: Kind, name: str) -> bool:
    """Whether it has a live version; what is no name, or damaged, is no reason to stop a video."""
    with suppress(RegistryError):
        return bool(store.versions(kind, name))
    return False
