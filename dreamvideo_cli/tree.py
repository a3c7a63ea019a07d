"""The tree of commands: a table. Nothing of a command but its line here is loaded until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from dreamvideo_cli.commands import Branch, Group, Leaf
from dreamvideo_cli.options import Kind

MAKE, KEEP, SEE = "Learn and make", "Keep and share", "Look and set"


# What can be done with subjects and with motions, by the same code.
VERBS: Mapping[str, tuple[str, str]] = {
    "list": ("adapters:list_adapters", "List the learned KINDs."),
    "show": (
        "adapters:show_adapter",
        "Show a KIND: what it is, what it was learned from, and how.",
    ),
    "tag": ("adapters:tag_adapter", "Tag a version of a KIND."),
    "untag": ("adapters:untag_adapter", "Take a tag off a KIND; the version stays."),
    "rename": (
        "history:rename_adapter",
        "Rename a KIND: versions, tags and log go along, and digests stay.",
    ),
    "log": ("history:show_log", "Tell what happened to a KIND, and where its tags were."),
    "diff": (
        "history:show_difference",
        "Compare two versions of a KIND: settings, inputs, scores and files.",
    ),
    "rm": ("adapters:remove_adapters", "Remove versions of a KIND; restore undoes it."),
    "restore": ("adapters:restore_adapter", "Put a removed version of a KIND back, with its tags."),
    "export": (
        "bundles:export_adapters",
        "Write versions of a KIND into one bundle, for another registry.",
    ),
    "path": ("adapters:print_path", "Print where a KIND's file lies, its bytes checked."),
}


def verbs(kind: Kind) -> Mapping[str, Leaf]:
    """`learn`, which differs, and what does not."""
    inputs = {"subject": "a few photos", "motion": "a clip or several"}[kind]
    return {
        "learn": Leaf(f"learn:learn_{kind}", f"Learn a {kind} from {inputs}."),
        **{
            name: Leaf(place, summary.replace("KIND", kind), {"kind": kind})
            for name, (place, summary) in VERBS.items()
        },
    }


BASE: Mapping[str, Leaf] = {
    "list": Leaf("bases:list_bases", "List the known bases and those adapters were learned on."),
    "show": Leaf(
        "bases:show_base",
        "Show a base, by default the one that is used: where it lies, its licence, its size.",
    ),
    "use": Leaf("bases:use_base", "Make a base the default of learn and gen."),
}
REGISTRY: Mapping[str, Leaf] = {
    "info": Leaf("store:show_info", "Tell where the registry lies and how much is in it."),
    "verify": Leaf(
        "store:verify",
        "Hash everything again and follow every name; exit 5 where something is damaged.",
    ),
    "gc": Leaf("store:collect", "Delete the bytes that no version, tag or recent removal needs."),
    "doctor": Leaf("store:diagnose", "Tell what is odd in the registry, and what would mend it."),
}
CONFIG: Mapping[str, Leaf] = {
    name: Leaf(f"configuration:{function}", summary, reads_files=False)
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
    "list": Leaf("runs:list_runs", "List the learning runs, the oldest first."),
    "show": Leaf(
        "runs:show_run", "Show a learning run: how far it is, what it saved, how it ended."
    ),
    "resume": Leaf(
        "runs:resume_run",
        "Go on with a stopped run from its last save; of a finished one print what it published.",
    ),
    "promote": Leaf(
        "runs:promote_run", "Publish an adapter as it was at an earlier save of a run."
    ),
    "rm": Leaf(
        "runs:remove_runs", "Delete runs with their saves, for good; what they published stays."
    ),
}
ROOT = Branch(
    "Learn a subject from photos, a motion from a clip, and make videos of both.",
    {
        "demo": Leaf(
            "demo:demo",
            "Learn a sample subject and a sample motion, compose them, and show the result.",
            section=MAKE,
        ),
        "subject": Branch("Learn, list, tag and export subjects.", verbs("subject"), MAKE),
        "motion": Branch("Learn, list, tag and export motions.", verbs("motion"), MAKE),
        "gen": Leaf(
            "gen:gen", "Make videos of learned subjects doing learned motions.", section=MAKE
        ),
        "eval": Leaf(
            "evaluate:evaluate",
            "Score videos: how close to the prompt, the photos and the clip they are.",
            section=MAKE,
        ),
        "grid": Leaf(
            "grid:grid",
            "Compare versions, weights and seeds in one labelled video and one picture.",
            section=MAKE,
        ),
        "bench": Leaf(
            "bench:bench",
            "Measure every method on held-out subjects in held-out motions; a killed bench goes on.",
            section=MAKE,
        ),
        "resolve": Leaf(
            "adapters:resolve", "Print what references stand for now, pinned.", section=KEEP
        ),
        "import": Leaf(
            "bundles:import_adapters",
            "Take adapters from a file or a pipe into the registry.",
            section=KEEP,
        ),
        "inspect": Leaf(
            "inspect:inspect",
            "Tell what photos, a clip or a file of adapters are, and what dv would do with them.",
            section=KEEP,
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
            "help_topics:show_topic",
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
  dv subject learn ./dog_pics --name corgi --class dog
  dv motion learn ./clip.mp4 --name skate --caption "skating along"
  dv gen "a corgi skate" --subject corgi --motion skate -o out.mp4

The base inside the package, mini, is small and for trying it all; photos and
clips of your own want a larger one: dv base list.
dv COMMAND --help says more; dv help lists topics: references, exit-codes, …""",
)


def app() -> Group:
    """`dv` with all its commands."""
    return Group("dv", ROOT)
