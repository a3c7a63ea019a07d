"""Fetching a base from a mirror of the hub on this machine, and from a folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.bases.names.releases import RELEASES, USUAL_TOWER
from tests.cli.conftest import Dv
from tests.hub_mirror import Mirror, serve
from tests.tiny import build_unet3d

pytestmark = pytest.mark.enable_socket
HUB_ID = RELEASES["modelscope"].hub_id
LARGE = "unet/diffusion_pytorch_model.safetensors"


CHUNK_BYTES = 10 << 20  # that the hub's library writes at once


def write_large(path: Path) -> None:
    """Weights of more than one chunk."""
    header = json.dumps(
        {"x": {"dtype": "U8", "shape": [2 * CHUNK_BYTES], "data_offsets": [0, 2 * CHUNK_BYTES]}}
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(2 * CHUNK_BYTES))


def largest(cache: Path) -> int:
    """Bytes of the largest file that is not whole yet."""
    sizes = [0]
    for part in cache.rglob("*.dv-part"):
        with suppress(FileNotFoundError):
            sizes.append(part.stat().st_size)
    return max(sizes)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a hub has: a base with everything that is not read, and the image tower."""
    root = tmp_path_factory.mktemp("published")
    base = build_unet3d(root / HUB_ID)
    tower = root / USUAL_TOWER
    shutil.move(base / "image_encoder", tower)
    (base / "base.toml").unlink(missing_ok=True)
    for name in (
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    ):
        (base / name).write_bytes(b"never read")
    for name in ("model.ckpt", "safety_checker/model.safetensors", "README.md", "sample.gif"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(b"never read")
    (tower / "open_clip_pytorch_model.bin").write_bytes(b"never read")
    return root


@pytest.fixture
def mirror(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> Iterator[Mirror]:
    """The mirror, with a cache that is empty."""
    root = shutil.copytree(published, tmp_path / "published")
    with serve({HUB_ID: root / HUB_ID, USUAL_TOWER: root / USUAL_TOWER}) as mirror:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", mirror.address)
        template = mirror.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield mirror


def test_only_what_is_read_is_fetched_and_the_base_is_used_offline(
    dv: Dv, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = dv("base", "pull", "modelscope", "-y")
    assert (pulled.code, pulled.out) == (0, "modelscope\n"), pulled.err
    assert all(word in pulled.err for word in (HUB_ID, USUAL_TOWER, "licence apache-2.0", "GiB"))
    names = {name for name, _ in mirror.sent}
    assert LARGE in names
    assert {"model.safetensors", "config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".ckpt", ".md", ".gif"))]
    assert not [name for name in names if "safety" in name or "fp16" in name]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shown = dv("base", "show", "modelscope", "--json").document
    assert (shown["here"], shown["id"], shown["licence"]) == (True, HUB_ID, "CC-BY-NC-4.0")
    assert shown["image_tower"]
    again = dv("base", "pull", "modelscope", "-y")
    assert (again.code, "is here already" in again.err) == (0, True)


def test_nothing_is_fetched_before_somebody_agrees(dv: Dv, mirror: Mirror, tmp_path: Path) -> None:
    refused = dv("base", "pull", "modelscope", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage.consent")
    assert mirror.asked == 0


def test_progress_is_told_in_megabytes(dv: Dv, mirror: Mirror) -> None:
    told = dv("base", "pull", "modelscope", "-y", "--progress", "json").err.splitlines()
    events = [json.loads(line) for line in told if line.startswith("{")]
    assert events[0]["event"] == "stage_started"
    assert events[-1]["event"] == "stage_ended"


def test_a_download_that_is_killed_is_named_and_goes_on(
    dv: Dv, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(mirror.folders[HUB_ID] / LARGE)
    mirror.cut_after = CHUNK_BYTES + 1_000_000
    env = {**os.environ, "HF_ENDPOINT": mirror.address, "HF_HUB_CACHE": str(tmp_path / "hub")}
    for name in ("HF_HUB_OFFLINE", "_DV_HF_HUB_OFFLINE"):
        env.pop(name, None)  # as a shell has it: the command goes online by itself
    line = [sys.executable, "-m", "dreamvideo_cli", "base", "pull", "modelscope", "-y"]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(line, env=env | {"PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL)
    while largest(tmp_path / "hub") < 1_000_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = (tmp_path / "hub").rglob("*.dv-part")
    begun = part.stat().st_size
    for line_of in (("base", "show", "modelscope"), ("gen", "a dog", "--base", "modelscope", "-n")):
        told = dv(*line_of)
        assert told.code == 7
        assert "half fetched" in told.err
        assert f"dv base pull {HUB_ID} goes on" in told.err
    before = len(mirror.sent)
    assert dv("base", "pull", "modelscope", "-y").code == 0
    asked = dict(mirror.sent[before:])
    assert asked[LARGE] == begun > 0
    assert not part.exists()
    assert dv("base", "show", "modelscope").code == 0


def test_a_caller_who_wants_to_stay_offline_does(home: Path) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    env.pop("_DV_HF_HUB_OFFLINE", None)
    line = [sys.executable, "-m", "dreamvideo_cli", "base", "pull", "modelscope", "-y"]
    told = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 7
    assert "is not fetched: HF_HUB_OFFLINE is set" in told.stderr
    assert "hint: HF_HUB_OFFLINE=0, or --from DIR" in told.stderr


def test_a_file_that_changed_between_is_fetched_whole(dv: Dv, mirror: Mirror) -> None:
    """Another commit: what is the same is kept, what changed is fetched again from its first byte."""
    assert dv("base", "pull", "modelscope", "-y").code == 0
    first = dv("base", "show", "modelscope", "--json").document["fingerprint"]
    hub = Path(dv("base", "show", "modelscope", "--json").document["folder"])
    (hub / "vae" / "config.json").unlink()
    config = mirror.folders[HUB_ID] / "vae" / "config.json"
    config.write_text(config.read_text("utf-8").replace("{", '{"_new": 1,', 1), "utf-8")
    before = len(mirror.sent)
    assert dv("base", "pull", "modelscope", "-y").code == 0
    assert ("vae/config.json", 0) in mirror.sent[before:]
    assert LARGE not in dict(mirror.sent[before:])
    assert dv("base", "show", "modelscope", "--json").document["fingerprint"] != first


def test_bytes_that_are_not_the_listed_ones_are_refused_and_removed(dv: Dv, mirror: Mirror) -> None:
    mirror.lie = LARGE
    told = dv("base", "pull", "modelscope", "-y", "--json")
    assert (told.code, told.error["code"]) == (5, "base.damaged")
    assert LARGE in told.error["message"]
    mirror.lie = None
    assert dv("base", "pull", "modelscope", "-y").code == 0


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    dv: Dv, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    told = dv("base", "pull", "modelscope", "-y", "--json")
    assert (told.code, told.error["code"]) == (7, "output.no_space")
    assert all(name.endswith(".json") for name, _ in mirror.sent)


def test_a_disk_that_fills_up_meanwhile_keeps_what_came(
    dv: Dv, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("engine.bases.pull.fetch.settle", full)
        told = dv("base", "pull", "modelscope", "-y", "--json")
    assert (told.code, told.error["code"]) == (7, "output.no_space")
    assert "goes on where it stopped" in told.error["hint"]
    assert "half fetched" in dv("base", "show", "modelscope").err
    assert dv("base", "pull", "modelscope", "-y").code == 0


def test_what_no_family_opens_is_never_fetched(dv: Dv, mirror: Mirror) -> None:
    index = mirror.folders[HUB_ID] / "model_index.json"
    index.write_text('{"_class_name": "LTXPipeline"}', "utf-8")
    mirror.folders["some/thing"] = mirror.folders[HUB_ID]
    told = dv("base", "pull", "some/thing", "-y")
    assert told.code == 7
    assert "LTX-Video" in told.err
    assert {name for name, _ in mirror.sent} == {"model_index.json"}
    assert dv("base", "pull", "no/thing", "-y").code == 7
    assert dv("base", "pull", "mini").out == "mini\n"
    assert dv("base", "pull", "./here", "-y").code == 7


@pytest.mark.parametrize(
    ("file", "config", "said"),
    [
        ("scheduler/scheduler_config.json", {"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVe"),
        ("config.json", {"_class_name": "WanModel"}, "holds no base"),
        ("config.json", {"model_type": "llama"}, "holds no base"),
    ],
)
def test_what_its_configs_rule_out_is_refused_before_its_weights(
    dv: Dv, mirror: Mirror, file: str, config: dict[str, str], said: str
) -> None:
    root = mirror.folders[HUB_ID]
    (root / file).write_text(json.dumps(config), "utf-8")
    if file == "config.json":
        (root / "model_index.json").unlink()
    mirror.folders["some/thing"] = root
    told = dv("base", "pull", "some/thing", "-y", "--json")
    assert (told.code, told.error["code"]) == (7, "base.invalid")
    assert said in told.error["message"]
    assert "some/thing" in told.error["message"]
    assert all(name.endswith(".json") for name, _ in mirror.sent)


def test_a_hub_out_of_reach_is_said_unless_the_name_tells_more(
    dv: Dv, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    told = dv("base", "pull", "some/thing", "-y", "--json").error
    assert "could not be fetched" in told["message"]
    assert "HF_ENDPOINT names a mirror" in told["hint"]
    known = dv("base", "pull", "Lightricks/LTX-Video", "-y", "--json").error
    assert "is LTX-Video" in known["message"]


def test_a_folder_of_ones_own_is_given_the_tower_it_lacks(
    dv: Dv, mirror: Mirror, tmp_path: Path
) -> None:
    folder = mirror.folders[HUB_ID]
    assert dv("base", "show", folder, "--json").document["image_tower"] is None
    pulled = dv("base", "pull", folder, "-y")
    assert (pulled.code, pulled.out) == (0, f"{folder}\n"), pulled.err
    assert dv("base", "show", folder, "--json").document["image_tower"]
    assert LARGE not in dict(mirror.sent)
    assert "is here already" in dv("base", "pull", folder).err


def test_a_base_that_is_here_is_not_fetched_again_for_a_tower(dv: Dv, mirror: Mirror) -> None:
    """The hub has moved on meanwhile: what is here and whole stays what is used."""
    assert dv("base", "pull", "modelscope", "-y").code == 0
    before = dv("base", "show", "modelscope", "--json").document
    shutil.rmtree(Path(before["image_tower"]).parents[1])
    config = mirror.folders[HUB_ID] / "vae" / "config.json"
    config.write_text(config.read_text("utf-8").replace("{", '{"_new": 1,', 1), "utf-8")
    mirror.sent.clear()
    assert dv("base", "pull", "modelscope", "-y").code == 0
    assert LARGE not in dict(mirror.sent)
    after = dv("base", "show", "modelscope", "--json").document
    assert after["fingerprint"] == before["fingerprint"]
    assert after["image_tower"] == before["image_tower"]


def test_pickled_weights_alone_become_safetensors(dv: Dv, mirror: Mirror) -> None:
    import torch
    from safetensors.torch import load_file

    unet = mirror.folders[HUB_ID] / "unet"
    tensors = load_file(mirror.folders[HUB_ID] / LARGE)
    for path in unet.glob("*.safetensors"):
        path.unlink()
    torch.save(tensors, unet / "diffusion_pytorch_model.bin")
    assert dv("base", "pull", "modelscope", "-y").code == 0
    folder = Path(dv("base", "show", "modelscope", "--json").document["folder"])
    found = load_file(folder / LARGE)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert not list(folder.rglob("*.bin"))


def test_a_folder_serves_as_well(dv: Dv, mirror: Mirror, tmp_path: Path) -> None:
    source = tmp_path / "published"
    assert dv("base", "pull", "modelscope", "-y", "--from", source).code == 0
    assert not mirror.sent
    shown = dv("base", "show", "modelscope", "--json").document
    assert (shown["here"], bool(shown["image_tower"])) == (True, True)
    assert not list(Path(shown["folder"]).rglob("*.bin"))
    assert dv("base", "pull", "zeroscope", "-y", "--from", source).code == 3
    alone = dv("base", "pull", "zeroscope", "-y", "--from", source / HUB_ID)
    assert (alone.code, f"dv base pull {USUAL_TOWER} fetches it" in alone.err) == (0, True)
