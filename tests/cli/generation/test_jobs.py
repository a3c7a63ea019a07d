"""Many videos from lines of JSON, the model kept loaded."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.job_lines import Job, read_job, read_lines
from dreamvideo_cli.terminal.processes import Rank, read_rank
from tests.cli.conftest import Dv, Learned, Put
from tests.cli.test_main import start
from tests.tiny import build_unet3d


def write(*jobs: Any, name: str = "jobs.ndjson") -> Path:
    path = Path(name)
    lines = [job if isinstance(job, str) else json.dumps(job) for job in jobs]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def objects(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def gen(dv: Dv, learned: Learned):
    """`dv gen` of jobs in two steps."""
    return lambda *rest: dv("gen", "--registry", learned.registry, "--steps", 2, *rest)


@pytest.fixture
def dry(dv: Dv, put: Put, base: Path):
    """`dv gen --jobs` of some lines as a plan, beside the subject `corgi` and the motion `skate`."""
    put("corgi", tags=["best"])
    put("skate", "motion")
    return lambda *jobs: dv("gen", "--jobs", write(*jobs), "--base", base, "-n", "--json")


BOTH = {"prompt": "a corgi skate", "subject": "corgi", "motion": "skate"}


def test_results_come_in_order_with_their_ids(gen) -> None:
    jobs = write(
        {**BOTH, "id": "b", "seed": 4},
        {**BOTH, "id": 7, "seed": "1..2"},
        "",
        {"prompt": "a dog", "base": "BASE"},
    )
    jobs.write_text(jobs.read_text().replace("BASE", str(_named_base(gen))))
    result = gen("--jobs", jobs, "--json")
    assert result.code == 0, result.err
    videos = objects(result.out)
    assert [(video["schema"], video["id"], video["seed"]) for video in videos] == [
        ("dv.video/1", "b", 4), ("dv.video/1", 7, 1), ("dv.video/1", 7, 2), ("dv.video/1", 3, 0)
    ]  # fmt: skip
    assert all(Path(video["path"]).exists() for video in videos)


def _named_base(gen) -> str:
    plan = gen("a corgi", "--subject", "corgi", "-n", "--json").document
    return str(plan["base"]["id"])


def test_a_job_gives_the_bytes_of_the_same_command_alone(gen) -> None:
    jobs = write(
        {**BOTH, "seed": 1, "out": "one.mp4"},
        {**BOTH, "seed": 2, "weights": {"corgi": 0.5}, "out": "two.mp4"},
    )
    assert gen("--jobs", jobs).out.splitlines() == [
        str(Path.cwd() / f"{n}.mp4") for n in ("one", "two")
    ]
    alone = gen(
        *("a corgi skate", "--subject", "corgi=0.5", "--motion", "skate"),
        "--seed",
        2,
        "-o",
        "alone.mp4",
    )
    assert alone.code == 0
    assert Path("two.mp4").read_bytes() == Path("alone.mp4").read_bytes()
    assert Path("two.mp4").read_bytes() != Path("one.mp4").read_bytes()


def test_the_base_is_loaded_once(gen) -> None:
    result = gen("--jobs", write({**BOTH}, {**BOTH, "seed": 1}, {**BOTH, "subject": []}))
    assert result.err.count("loading") == 1


@pytest.fixture(scope="session")
def two_bases(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> list[str]:
    other = build_unet3d(tmp_path_factory.mktemp("other") / "base", seed=1)
    return [str(tiny_folder), str(other)]


@pytest.mark.parametrize(("free", "loads"), [(1 << 40, 2), (None, 4), (0, 4)])
def test_bases_that_take_turns_are_each_loaded_once_where_memory_allows(
    dv: Dv, two_bases: list[str], monkeypatch: pytest.MonkeyPatch, free, loads: int
) -> None:
    monkeypatch.setattr("engine.device.free_bytes", lambda _: free)
    lines = [{"id": n, "prompt": "a dog", "base": base} for n, base in enumerate(two_bases * 2)]
    jobs = write(*lines)
    result = dv("gen", "--jobs", jobs, "--steps", 1, "--json")
    assert result.code == 0, result.err
    assert [video["id"] for video in objects(result.out)] == [0, 1, 2, 3]
    assert result.err.count("loading") == loads


def test_all_lines_are_checked_before_the_first_is_made(gen) -> None:
    result = gen(
        "--jobs",
        write({**BOTH, "id": "good"}, {**BOTH, "id": "bad", "subject": "nobody"}),
        "--json",
    )
    assert (result.code, result.out) == (3, "")
    assert "job bad" in result.error["message"]
    assert "loading" not in result.err
    assert [path.name for path in Path.cwd().iterdir()] == ["jobs.ndjson"]


def test_keep_going_makes_the_rest_and_tells_each_failure(gen) -> None:
    lost, big = {**BOTH, "id": "lost", "subject": "nobody"}, {**BOTH, "id": "big", "size": "33x32"}
    one, last = {**BOTH, "id": "one"}, {**BOTH, "id": "last", "seed": 2}
    jobs = write(one, lost, "{broken", big, one, last)
    result = gen("--jobs", jobs, "--keep-going", "--json")
    assert result.code == 9
    assert [video["id"] for video in objects(result.out)] == ["one", "last"]
    errors = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [(error.get("id"), error["exit"]) for error in errors] == [
        ("lost", 3), (3, 2), ("big", 2), ("one", 2), (None, 9)
    ]  # fmt: skip
    assert errors[-1]["code"] == "batch.partial"
    assert all(error["schema"] == "dv.error/1" for error in errors)


def test_failures_in_words_name_the_job(gen) -> None:
    result = gen("--jobs", write({**BOTH, "id": "lost", "subject": "nobody"}), "--keep-going")
    assert result.code == 9
    assert result.err.splitlines()[0].startswith("error: job lost: ")


def test_what_a_line_leaves_out_is_as_on_the_command_line(dry) -> None:
    (plan,) = dry({**BOTH, "identity-from": 0.5, "frames": 4, "weights": {"skate": 0}}).document[
        "jobs"
    ]
    assert (plan["generate"]["frames"], plan["generate"]["identity_from"]) == (4, 0.5)
    assert plan["generate"]["steps"] == 12
    assert plan["motions"][0]["weight"] == 0.0


def test_automatic_names_of_one_batch_do_not_meet(dry) -> None:
    plans = dry(BOTH, BOTH, BOTH).document["jobs"]
    names = [Path(plan["videos"][0]["path"]).name for plan in plans]
    assert names == [f"corgi-v1_skate-v1_s0{end}.mp4" for end in ("", "_2", "_3")]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"promt": "a dog"}, "did you mean prompt?"),
        ({"prompt": "a dog", "steps": "many"}, "steps"),
        ({"prompt": "a dog", "frames": 0}, "frames"),
        ({"prompt": "a dog", "seed": "x"}, "seed"),
        ({"prompt": "a dog", "count": 0}, "seeds"),
        ({"prompt": "a dog", "appearance": 1}, "motion"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a dog", "out": "-"}, "one video alone"),
        ({"prompt": "a dog", "out": "a.mp4", "output": "b.mp4"}, "twice"),
        ({"prompt": "a dog", "weights": {"corgi": 1}}, "takes no part"),
        ({**BOTH, "weights": {"corgi": 11}}, "weights"),
        ({"prompt": "a dog", "id": ""}, "id"),
        ("[1]", "no JSON object"),
        ("{", "no JSON"),
        ("\x00", "no JSON"),
    ],
)
def test_a_line_that_cannot_be_meant_is_a_usage_error(dry, job, told: str) -> None:
    result = dry(job)
    assert (result.code, result.out) == (2, "")
    assert result.error["message"].startswith("job ")
    assert told in result.error["message"] + str(result.error["hint"])


def test_two_jobs_of_one_id_or_one_file_are_refused(dry) -> None:
    assert dry({**BOTH, "id": 1}, {**BOTH, "id": 1}).code == 2
    assert dry({**BOTH, "out": "a.mp4"}, {**BOTH, "out": "a.mp4"}).code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--jobs", "nowhere"), 3),
        (("--jobs", "."), 2),
        (("--keep-going",), 2),
        (("--jobs", os.devnull), 2),
    ],
)
def test_jobs_that_are_not_there_are_refused(dv: Dv, arguments, code: int) -> None:
    assert dv("gen", *arguments).code == code


def test_a_line_without_end_is_not_taken_in() -> None:
    with pytest.raises(UsageError, match="is over"):
        list(read_lines(io.BytesIO(b"x" * (3 << 20))))


def test_lines_count_without_the_blank_ones_and_a_byte_order_mark() -> None:
    source = io.BytesIO(b"\xef\xbb\xbf{}\n\n  \r\n{}\r\n{}")
    assert list(read_lines(source)) == [(0, b"{}"), (1, b"{}"), (2, b"{}")]


@given(
    st.binary()
    | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: json.dumps(d).encode())
)
def test_any_line_is_a_job_or_a_usage_error(line: bytes) -> None:
    try:
        assert isinstance(read_job(line), Job)
    except UsageError:
        return


def test_processes_of_a_launcher_share_the_lines(gen, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = write(*({**BOTH, "id": k, "seed": k, "out": f"{k}.mp4"} for k in range(3)))
    ids = []
    for rank in range(2):
        for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 2)):
            monkeypatch.setenv(name, str(value))
        result = gen("--jobs", jobs, "--json", "--device", "cpu")
        assert result.code == 0, result.err
        ids.append([video["id"] for video in objects(result.out)])
    assert ids == [[0, 2], [1]]


def test_processes_share_the_seeds_of_one_command(gen, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ("a corgi", "--subject", "corgi", "--device", "cpu", "-o", "out.mp4")
    out = []
    for rank in range(2):
        for name, value in (("RANK", rank), ("WORLD_SIZE", 2)):
            monkeypatch.setenv(name, str(value))
        result = gen(*one)
        assert result.code == 0, result.err
        out.append(result.out)
    assert out == [f"{Path.cwd() / 'out.mp4'}\n", ""]
    monkeypatch.setenv("WORLD_SIZE", "one")
    assert gen(*one).code == 2


def test_stdin_is_not_shared(gen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert gen("--jobs", "-").code == 2


def test_without_a_launcher_everything_is_ours() -> None:
    assert read_rank({}) == Rank()
    assert read_rank({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Rank(3, 4, 1)
    for odd in ("-1", "4", "x", "²"):
        with pytest.raises(UsageError):
            read_rank({"RANK": odd, "WORLD_SIZE": "4"})


# What `jq -c '{id:.n,prompt:.p,subject:"corgi:latest",motion:"skate",seed:.n}'` does.
JQ = """
import json, sys
for job in json.load(sys.stdin):
    own = {"id": job["n"], "prompt": job["p"], "seed": job["n"], "steps": 1}
    print(json.dumps({**own, "subject": "corgi:latest", "motion": "skate"}))
"""


def environment() -> dict[str, str]:
    """Where a process of its own finds the packages."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "place", ["generation.jobs.read_job", "generation.sampler.Sampler.make_together"]
)
def test_a_signal_that_is_turned_into_an_error_is_not_passed_over(
    gen, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    calls = []
    # A test run in the background of a script starts with SIGINT ignored, and dv leaves what is ignored so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def convert(*_: object) -> None:
        calls.append(1)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException as error:
            raise ValueError("not a signal") from error

    jobs = write({**BOTH, "id": "a"}, {**BOTH, "id": "b"})
    monkeypatch.setattr(f"dreamvideo_cli.{place}", convert)
    try:
        result = gen("--jobs", jobs, "--keep-going", "--json")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.code, len(calls)) == (130, 1)


@pytest.mark.skipif(os.name == "nt", reason="signals and shells")
def test_a_pipe_that_stays_open_is_served_and_a_signal_ends_it(
    home: Path, learned: Learned
) -> None:
    line = ("gen", "--jobs", "-", "--keep-going", "--json", "--steps", 1, "--registry")
    process = start(*line, learned.registry, stdin=subprocess.PIPE)
    process.stdin.write(json.dumps({**BOTH, "id": "first"}) + "\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["id"] == "first"
    made = Path(first["path"]).read_bytes()
    process.stdin.write(json.dumps({**BOTH, "id": "second", "steps": 900}) + "\n")
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert json.loads(err.splitlines()[-1])["exit"] == 130
    assert Path(first["path"]).read_bytes() == made
    assert [path.name for path in Path.cwd().iterdir()] == [Path(first["path"]).name]


@pytest.mark.skipif(os.name == "nt", reason="shells")
def test_the_idiom_of_jq_and_a_redirection_works(
    home: Path, learned: Learned, tmp_path: Path
) -> None:
    wanted = [{"n": 3, "p": "a corgi skate"}, {"n": 5, "p": "skate, a corgi"}]
    (tmp_path / "jq.py").write_text(JQ)
    python = f'"{sys.executable}"'
    dv = f"{python} -m dreamvideo_cli gen --jobs - --json --keep-going"
    line = f'{python} "{tmp_path}/jq.py" | {dv} --registry "{learned.registry}" > out.ndjson'
    ran = subprocess.run(
        ["/bin/sh", "-c", line], input=json.dumps(wanted), env=environment(), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    made = objects(Path("out.ndjson").read_text())
    assert [(video["id"], video["seed"]) for video in made] == [(3, 3), (5, 5)]


@pytest.mark.slow
def test_accelerate_launch_makes_each_video_once(home: Path, learned: Learned) -> None:
    jobs = write(*({**BOTH, "id": k, "seed": k, "steps": 1} for k in range(4)))
    launch = "accelerate.commands.launch --cpu --num_processes 2 --num_machines 1"
    plain = "--mixed_precision no --dynamo_backend no -m dreamvideo_cli gen --json --jobs"
    ran = subprocess.run(
        [sys.executable, "-m", *launch.split(), *plain.split(), jobs, "--registry", learned.registry],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert sorted(video["id"] for video in objects(ran.stdout)) == [0, 1, 2, 3]
    assert len(list(Path.cwd().glob("*.mp4"))) == 4


def test_neighbours_of_one_shape_share_the_calls_of_the_network(
    gen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.generate import Generator

    real, made = Generator.sample_together, []

    def sample(self, recipes):
        made.append([(recipe.prompt, recipe.seed) for recipe in recipes])
        return real(self, recipes)

    monkeypatch.setattr(Generator, "sample_together", sample)
    lines = [
        {**BOTH, "id": "a", "seed": 1},
        {**BOTH, "id": "b", "prompt": "a red corgi skate", "seed": 2},
        {**BOTH, "id": "c", "seed": 3},
        {**BOTH, "id": "d", "guidance": 3},
    ]
    result = gen("--jobs", write(*lines), "--batch", 2, "--json")
    assert result.code == 0, result.err
    assert [video["id"] for video in objects(result.out)] == ["a", "b", "c", "d"]
    assert [len(batch) for batch in made] == [2, 1, 1]
    assert made[0] == [("a <corgi> skate", 1), ("a red <corgi> skate", 2)]
    paths = [Path(video["path"]) for video in objects(result.out)]
    alone = gen("--jobs", write(lines[2], name="one.ndjson"), "--json")
    assert paths[2].read_bytes() == Path(objects(alone.out)[0]["path"]).read_bytes()
