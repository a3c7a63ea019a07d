"""A process that makes videos starts without what no video needs, and others are left alone."""

import json
import subprocess
import sys
from pathlib import Path

from dreamvideo_cli.main import main
from dreamvideo_cli.settings import process

REPOSITORY = Path(__file__).resolve().parents[3]
MAKE_A_VIDEO = """
import json, sys
from dreamvideo_cli.main import main
code = main()
here = [name for name in ("peft", "transformers", "torch._dynamo") if name in sys.modules]
from transformers import CLIPVisionModelWithProjection
print(json.dumps([code, here]))
"""


def test_a_video_is_made_without_them_and_they_can_be_had_later(tmp_path):
    line = ["gen", "a red cat", "--base", "mini", "--steps", "1", "--quiet"]
    ran = subprocess.run(
        [sys.executable, "-c", MAKE_A_VIDEO, *line, "-o", str(tmp_path / "v.webp")],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(ran.stdout.splitlines()[-1]) == [0, []]
    assert (tmp_path / "v.webp").is_file()


def test_a_process_of_others_keeps_all_of_diffusers(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dv", "--version"])
    monkeypatch.setattr(process, "_is_ours", False)
    assert main(["--version"]) == 0
    assert not process.is_ours()
    assert main() == 0
    assert process.is_ours()
