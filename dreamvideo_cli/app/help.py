"""`dv help`: what holds for all commands, taken from the code's own tables wherever there is one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import View, show
from dreamvideo_cli.terminal.text import field_lines

if TYPE_CHECKING:
    from dreamvideo_cli.app.tree import Leaf

REFERENCES = """\
A reference says which adapter is meant:

  fox                the latest version of the name
  fox:v3             that version; versions never change
  fox:best           the version that a tag is on; tags are moved by people
  fox:latest         the highest live version        fox:prev  the one before
  fox@9f86d081       the version whose digest begins so; 8 to 64 digits
  subject/fox        where a subject, a motion or an accelerator share the name
  ./fox.dva          a file; a path starts with ./ ../ / ~ or ends in
                     .dva or .safetensors

Names and tags are small letters and digits, with . _ - between them.
Commands print pinned references, fox:v3@sha256:...: they always mean the
same bytes. In gen, =WEIGHT may follow: fox:best=0.8. 1 is what was
learned, 0 is the base, bit for bit.
"""
SCRIPTING = """\
stdout carries the result and nothing else, the same bytes on a terminal and
in a pipe; plans, progress, hints and errors go to stderr. learn, tag and rm
print pinned references, gen one path a line, so these nest:

  dv gen "a fox zigzag" --motion zigzag \\
    --subject "$(dv subject learn ./dv-demo/photos --name fox --class cat)"

  for s in $(dv subject list -q); do
    dv gen "a $s on a snow background" --subject "$s" --motion zigzag
  done

  dv subject export fox:best -o - | ssh gpu2 dv import -

  dv subject list --json | jq -r '.[] | select(.size_bytes > 1e6) | .ref'

-q leaves only results and errors. --no-input, or a stdin that is no terminal,
never asks. -n shows what gen, learn, import, rm … would do. --progress json
gives an object a line on stderr. Only the exit code tells success: dv help
exit-codes. A video's path is printed once the whole file is there.
"""
SAFETY = """\
Nothing is half-written: files are written beside their place and renamed,
so a stopped command leaves either the old file or the new one.
Nothing is overwritten: a name that dv chooses gives way to what is there; a
file that you name needs --overwrite.
Nothing is lost: versions never change, and learning again makes a new one.
rm can be undone with restore until dv registry gc. Removing a tagged version
or a whole name asks on a terminal and needs -y elsewhere.
Nothing is silent: what cannot be applied exactly is an error, and a photo or
frame is never replaced, dropped or retimed without a word.
Nothing is trusted: a stranger's bundle is checked by content, never unpacked
by its names, and holds no code. A project's dv.toml cannot send data out of
its folder. What comes from a file is printed without control characters.
Nothing goes to the network: a base that is not here is an error that says
where it can be had.
"""
METHODS = """\
dv subject learn --method:

  dreamvideo      a word, then bottlenecks at spatial cross-attention
  word            textual inversion: a word alone, a few kilobytes
  lora            low-rank layers at spatial attention
  dreamix         the base's layers for single frames, fine-tuned
  reference       the photos, which self-attention reads while a video is
                  made, and low-rank layers that learn how

dv motion learn --method:

  dreamvideo      bottlenecks in every temporal layer, told the clip's look
  lora            low-rank layers at temporal attention
  motiondirector  low-rank layers along time, beside others that take up the
                  clip's look and are thrown away
  tune-a-video    spatial queries and temporal attention, fine-tuned
  dreamix         the whole base, fine-tuned on the clip and its frames

Any subject goes with any motion of the same base, whatever the methods. A
subject without a word of its own stands in prompts as its class word.
--steps, --lr and --set change a method's settings; -n shows them. tune-a-video
and dreamix change whole layers: their adapters are as large as what they
change, half of what the base takes or more. motiondirector and tune-a-video
need layers that look along time alone, which Wan has not.

show tells a learned word's norm over the median of the base's own words, as
word_norm_ratio: a long word drowns the rest of a prompt. With --method word,
--set word_norm=pull or keep holds it near that median.
"""
PAIRS = """\
dv bench --pairs DIR measures with photos and clips of your own, on any base. A
file pairs.toml in the folder says what is in it; paths start at the folder:

  [subjects.corgi]
  photos = "corgi"           # a folder of photos
  class = "dog"              # what the base may call it
  masks = "corgi-masks"      # may be left out: white where the subject is

  [motions.skate]
  clip = "skate.mp4"         # or a folder of frames
  caption = "skateboarding"  # what moves how, without who
  actor = "a man"            # may be left out: who moves in the clip
  start_s = 0.0              # may be left out, as may end_s

  [[pairs]]                  # without any, every subject in every motion
  subject = "corgi"
  motion = "skate"
  prompt = "a {subject} {motion} on a beach"  # else "a {subject} {motion}"

Scores are CLIP's and DINO's, or those of --scorer. There is no row of the
truth, for nobody knows it; the photos and the clip stand first on every sheet.
"""
# What of the system's own variables is honoured; the rest of the environment is not looked at.
FOUND: Mapping[str, str] = {
    "NO_COLOR": "any value: no colours",
    "FORCE_COLOR": "colours also where stderr is no terminal",
    "TERM=dumb": "no moving bars",
    "COLUMNS": "width of help and bars",
    "XDG_DATA_HOME, …": "where the folders above lie by default",
    "HF_HOME, HF_HUB_OFFLINE": "where bases of the hub lie; never fetch one",
    "CUDA_VISIBLE_DEVICES": "which GPUs there are",
}
SCHEMAS: Mapping[str, str] = {
    "dv.adapter/1": "a version: list, show, tag, rm, learn, import, resolve",
    "dv.video/1": "a video, one object a line: gen",
    "dv.plan/1": "what would be done: -n of learn, gen, grid, tune, bench and import",
    "dv.grid/1": "where a grid and its picture lie: grid",
    "dv.tune/1": "every setting's scores, and the line that uses the best: tune",
    "dv.eval/1": "a video's scores: eval",
    "dv.eval_definitions/1": "what each score means: eval --explain",
    "dv.bench/1": "every method's scores: bench",
    "dv.demo/1": "what was learned and made: demo",
    "dv.inspect/1": "photos, a clip or a video: inspect",
    "dv.found/1": "an adapter in a file: inspect",
    "dv.bundle/1": "where a bundle lies, and what it holds: export",
    "dv.foreign/1": "a file of another tool, and the line that takes it: inspect",
    "dv.exported/1": "where a file for another tool lies, and what reads it: export --format",
    "dv.path/1": "where an adapter's file lies: path",
    "dv.difference/1": "what two versions differ in: diff",
    "dv.event/1": "something that happened to a name: log",
    "dv.places/1": "where tags were: log --at",
    "dv.run/1": "a run: runs list, runs show, learn and resume at exit 75",
    "dv.runs_removed/1": "what went: runs rm",
    "dv.base_info/1": "a base: base list, base show",
    "dv.pull/1": "what was fetched: base pull",
    "dv.registry/1": "what is in the registry: registry info",
    "dv.verified/1": "what was looked at and what is damaged: registry verify",
    "dv.diagnosis/1": "what is odd: registry doctor",
    "dv.collection/1": "what was freed: registry gc",
    "dv.setting/1": "a setting: config",
    "dv.help/1": "a topic: help",
    "dv.error/1": "what failed, the last line of stderr",
    "dv.progress/1": "a step, one object a line of stderr: --progress json",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that holds for all commands."""

    summary: str
    lines: Callable[[], list[str]]


def show_topic(
    shell: Shell,
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC]", help="A topic, or the words of a command."),
    ] = None,
) -> None:
    """Explain what holds for all commands: exit codes, references, JSON, settings.

    Topics: exit-codes, references, methods, json, environment, scripting, safety, pairs.

    Example: dv help references
    """
    if not topic:
        _list_topics(shell)
        return
    name = " ".join(topic)
    found = TOPICS.get(name) or _find_command(topic)
    lines = found.lines()
    document = {"schema": "dv.help/1", "topic": name, "summary": found.summary}
    show(shell, View({**document, "text": "\n".join(lines)}, lines))


def _list_topics(shell: Shell) -> None:
    summaries = [(name, topic.summary) for name, topic in TOPICS.items()]
    documents = [
        {"schema": "dv.help/1", "topic": name, "summary": summary} for name, summary in summaries
    ]
    show(shell, View(documents, field_lines(summaries), brief=list(TOPICS)))


def _find_command(words: Sequence[str]) -> Topic:
    """The help of a command, which some look for here."""
    from dreamvideo_cli.app.groups import build
    from dreamvideo_cli.app.tree import ROOT, Branch

    entry: Branch | Leaf = ROOT
    for word in words:
        if not isinstance(entry, Branch) or word not in entry.entries:
            raise _no_help(words, [*TOPICS, *ROOT.entries])
        entry = entry.entries[word]
    command = build(words[-1], entry)
    context = command.make_context(f"dv {' '.join(words)}", [], resilient_parsing=True)
    return Topic(entry.summary, command.get_help(context).splitlines)


def _no_help(words: Sequence[str], known: Sequence[str]) -> UsageError:
    from difflib import get_close_matches

    near = get_close_matches(words[0], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(TOPICS)}"
    return UsageError(f"there is no help on {' '.join(words)!r}", hint=hint)


def _exit_codes() -> list[str]:
    from dreamvideo_cli.terminal.failures import MEANINGS

    return field_lines((str(code), meaning) for code, meaning in MEANINGS.items())


def _environment() -> list[str]:
    from dreamvideo_cli.settings.files import PROJECT_FILE
    from dreamvideo_cli.settings.keys import KEYS, VARIABLES

    keys = [(key.variable, f"{key.summary}; in files: {name}") for name, key in KEYS.items()]
    return [
        f"A flag goes before its DV_* variable, that before the nearest {PROJECT_FILE} in this",
        "folder or above it, that before the user's file, that before the default.",
        "dv config list shows what holds now and who says so.",
        "",
        *field_lines([*keys, *VARIABLES.items()]),
        "",
        "Honoured as they are found:",
        "",
        *field_lines(FOUND.items()),
    ]


def _json() -> list[str]:
    from dreamvideo_cli.terminal.failures import EXIT_CODES

    codes: dict[str, set[str]] = {}
    for known, number in EXIT_CODES.items():
        codes.setdefault(str(number), set()).add(known.code)
    return [
        "With --json a command that succeeds prints one object or array on stdout; what",
        "has no rows is []. Each object says what it is in its field schema; fields are",
        "added under the same number, and taken away or changed only under the next.",
        "",
        *field_lines(SCHEMAS.items()),
        "",
        "A command that fails prints nothing on stdout, and as the last line of stderr",
        '{"schema": "dv.error/1", "code": …, "exit": …, "message": …, "hint": …}',
        "A code is never given another meaning. By exit code, the widest ones:",
        "",
        *field_lines((number, ", ".join(sorted(words))) for number, words in codes.items()),
        "",
        "registry verify and doctor print what they found also where they exit 5.",
    ]


TOPICS: Mapping[str, Topic] = {
    "exit-codes": Topic("what each exit code means", _exit_codes),
    "references": Topic("how to say which adapter is meant", REFERENCES.splitlines),
    "methods": Topic("what --method of learn chooses from", METHODS.splitlines),
    "json": Topic("what --json prints, and the codes of errors", _json),
    "environment": Topic("variables and files that settings come from", _environment),
    "scripting": Topic("stdout, stderr, and idioms of the shell", SCRIPTING.splitlines),
    "pairs": Topic("photos and clips of your own in dv bench", PAIRS.splitlines),
    "safety": Topic("what dv never does to your files", SAFETY.splitlines),
}
