"""The tree of commands: a table. Nothing of a command but its line here is loaded until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamvideo_cli.terminal.options import Kind, filled

COMMANDS = "Commands"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A command."""

    place: str  # ``module:function`` within this package
    summary: str  # one line, the first of the function's docstring
    # parameters of the function that the tree fills in
    fixed: Mapping[str, Any] = field(default_factory=dict)
    section: str = COMMANDS  # heading under which its group lists it
    # whether files of settings stand behind its options; not where they are what it mends
    reads_files: bool = True


@dataclass(frozen=True, slots=True)
class Branch:
    """A group of commands."""

    summary: str  # one line
    entries: Mapping[str, Leaf | Branch]  # by name, in the order of its help
    section: str = COMMANDS  # heading under which its own group lists it
    # what `main` answers before Typer is imported, for the help
    options: Mapping[str, str] = field(default_factory=dict)
    epilog: str = ""  # the last lines of its help, as they are


MAKE, KEEP, SEE = "Learn and make", "Keep and share", "Look and set"

# What can be done with subjects, motions and accelerators, by the same code.
VERBS: Mapping[str, tuple[str, str]] = {
    "list": ("commands.adapters:list_adapters", "List the KINDs in the registry."),
    "show": (
        "commands.adapters:show_adapter",
        "Show a KIND: what it is, what it was learned from, and how.",
    ),
    "tag": ("commands.adapters:tag_adapter", "Tag a version of a KIND."),
    "untag": ("commands.adapters:untag_adapter", "Take a tag off a KIND; the version stays."),
    "rename": (
        "commands.adapters:rename_adapter",
        "Rename a KIND: versions, tags and log go along, and digests stay.",
    ),
    "log": ("commands.adapters:show_log", "Tell what happened to a KIND, and where its tags were."),
    "diff": (
        "commands.adapters:show_difference",
        "Compare two versions of a KIND: settings, inputs, scores and files.",
    ),
    "rm": ("commands.adapters:remove_adapters", "Remove versions of a KIND; restore undoes it."),
    "restore": (
        "commands.adapters:restore_adapter",
        "Put a removed version of a KIND back, with its tags.",
    ),
    "export": (
        "commands.bundles:export_adapters",
        "Write versions of a KIND into one bundle, for another registry, or one of them for another tool.",
    ),
    "path": ("commands.adapters:print_path", "Print where a KIND's file lies, its bytes checked."),
}


def learn(kind: Kind, inputs: str) -> Mapping[str, Leaf]:
    """The verb that differs."""
    return {"learn": Leaf(f"commands.learn:learn_{kind}", f"Learn a {kind} from {inputs}.")}


def verbs(kind: Kind) -> Mapping[str, Leaf]:
    """The verbs that all kinds share."""
    return {
        name: Leaf(place, filled(summary, "kind", kind), {"kind": kind})
        for name, (place, summary) in VERBS.items()
    }


SUBJECT = {**learn("subject", "a few photos"), **verbs("subject")}
MOTION = {**learn("motion", "a clip or several"), **verbs("motion")}


BASE: Mapping[str, Leaf] = {
    "list": Leaf(
        "commands.base:list_bases",
        "List the known bases: whether they are here, what they need and what they are for.",
    ),
    "show": Leaf(
        "commands.base:show_base",
        "Show a base, by default the one that is used: its licence, what it needs, where it lies.",
    ),
    "pull": Leaf(
        "commands.base:pull_base",
        "Fetch a base with its image tower: only the files that are read, resumed where it stopped.",
    ),
    "import": Leaf(
        "commands.base:import_base",
        "Make a base of the UNet that DreamVideo's own code learns on, and all else of a base of its shapes.",
    ),
    "use": Leaf("commands.base:use_base", "Make a base the default of learn and gen."),
}
REGISTRY: Mapping[str, Leaf] = {
    "info": Leaf(
        "commands.registry:show_info", "Tell where the registry lies and how much is in it."
    ),
    "verify": Leaf(
        "commands.registry:verify",
        "Hash everything again and follow every name; exit 5 where something is damaged.",
    ),
    "gc": Leaf(
        "commands.registry:collect",
        "Delete the bytes that no version and no recent removal needs.",
    ),
    "doctor": Leaf(
        "commands.registry:diagnose", "Tell what is odd in the registry, and what would mend it."
    ),
}
CONFIG: Mapping[str, Leaf] = {
    name: Leaf(f"commands.config:{function}", summary, reads_files=False)
    for name, function, summary in (
        ("list", "list_settings", "List every setting, its value, and where that comes from."),
        ("get", "get_setting", "Print the value of a setting."),
        (
            "set",
            "set_setting",
            "Write a setting into the user's file, or the project's; the file's comments stay.",
        ),
        ("unset", "unset_setting", "Take a setting out of the user's file, or the project's."),
        (
            "path",
            "print_config_path",
            "Print where the user's file of settings lies, or the project's.",
        ),
    )
}
RUNS: Mapping[str, Leaf] = {
    "list": Leaf("commands.runs:list_runs", "List the learning runs, the oldest first."),
    "show": Leaf(
        "commands.runs:show_run", "Show a learning run: how far it is, what it saved, how it ended."
    ),
    "resume": Leaf(
        "commands.runs:resume_run",
        "Go on with a stopped run from its last save; of a finished one print what it published.",
    ),
    "promote": Leaf(
        "commands.runs:promote_run", "Publish an adapter as it was at an earlier save of a run."
    ),
    "rm": Leaf(
        "commands.runs:remove_runs",
        "Delete runs with their saves, for good; what they published stays.",
    ),
}
ROOT = Branch(
    "Learn a subject from photos, a motion from a clip, and make videos of both.",
    {
        "demo": Leaf(
            "commands.demo:demo",
            "Learn a sample subject and a sample motion, compose them, and show the result.",
            section=MAKE,
        ),
        "subject": Branch("Learn, list, tag and export subjects.", SUBJECT, MAKE),
        "motion": Branch("Learn, list, tag and export motions.", MOTION, MAKE),
        "gen": Leaf(
            "commands.gen:gen",
            "Make videos of learned subjects doing learned motions.",
            section=MAKE,
        ),
        "eval": Leaf(
            "commands.evaluate:evaluate",
            "Score videos: how close to the prompt, the photos and the clip they are.",
            section=MAKE,
        ),
        "grid": Leaf(
            "commands.compare:grid",
            "Compare versions, weights and seeds in one labelled video and one picture.",
            section=MAKE,
        ),
        "tune": Leaf(
            "commands.compare:tune",
            "Search the weights, windows and shares of guidance that keep both a subject and a motion, by scores.",
            section=MAKE,
        ),
        "bench": Leaf(
            "commands.bench:bench",
            "Measure every method on held-out subjects in held-out motions; a killed bench goes on.",
            section=MAKE,
        ),
        "resolve": Leaf(
            "commands.adapters:resolve",
            "Print what references stand for now, pinned.",
            section=KEEP,
        ),
        "import": Leaf(
            "commands.bundles:import_adapters",
            "Take adapters from a file or a pipe into the registry; words and LoRA of other tools too.",
            section=KEEP,
        ),
        "inspect": Leaf(
            "commands.inspect:inspect",
            "Tell what photos, a clip or a file of adapters are, and what dv would do with them.",
            section=KEEP,
        ),
        "accelerator": Branch(
            "List, tag and export accelerators, changes of a base that make it need fewer steps.",
            verbs("accelerator"),
            KEEP,
        ),
        "runs": Branch("See, continue and promote learning runs.", RUNS, KEEP),
        "registry": Branch(
            "Check, clean and mend the registry, where adapters lie.", REGISTRY, KEEP
        ),
        "base": Branch(
            "Show and choose bases, the frozen models that adapters are learned on.", BASE, SEE
        ),
        "config": Branch("Show and change settings, and who says them.", CONFIG, SEE),
        "help": Leaf(
            "app.help:show_topic",
            "Explain what holds for all commands: exit codes, references, JSON, settings.",
            section=SEE,
            reads_files=False,
        ),
    },
    options={
        "--install-completion [SHELL]": "Complete commands, names and tags in bash, zsh or fish.",
        "--show-completion [SHELL]": "Print what that would install.",
        "-V, --version": "Print the version.",
    },
    epilog="""\
Start with:
  dv demo                      the whole way once, on samples
  dv subject learn dv-demo/photos --name fox --class cat
  dv motion learn dv-demo/clip.mp4 --name zigzag --caption "moving in a zigzag"
  dv gen "a fox zigzag" --subject fox --motion zigzag --scale 8 -o out.mp4

The base inside the package, mini, is small and for trying it all; photos and
clips of your own want a larger one: dv base list.
dv COMMAND --help says more; dv help lists topics: references, exit-codes, …""",
)
