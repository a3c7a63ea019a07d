"""Whether a device is here, known before torch is imported."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from engine.errors import DeviceError

# Whatever the denoiser, the adapters on it and the text tower compute in; Wan keeps norms of its denoiser in fp32 too.
ALWAYS_FP32 = "what is learned, losses, noise, latents between steps, autoencoder and image tower"
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


def require_device(name: str, precision: str = "auto") -> None:
    """Refuse a device that torch would not find; one that only torch could judge passes.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: in which it is to compute.

    Raises:
        DeviceError: it is not here, or does not compute in this precision.
    """
    if precision == "fp16" and (name == "cpu" or (name == "auto" and not has_gpu())):
        raise refuse_fp16()
    if name == "mps" and (sys.platform != "darwin" or platform.machine() != "arm64"):
        raise missing(name, "it is the GPU of a Mac")
    if not name.startswith("cuda"):
        return
    kinds = _built_for()
    if not kinds:
        raise missing(name, "this torch computes on the CPU alone")
    if kinds == {"cuda"}:
        count = _count_cuda()
        if int(name.partition(":")[2] or 0) >= count:
            raise missing(name, f"{count} CUDA devices are visible")


def missing(name: str, why: str) -> DeviceError:
    """The error for a device that is not here."""
    return DeviceError(
        f"device {name} is not here: {why}", hint="--device auto takes what there is"
    )


def refuse_fp16() -> DeviceError:
    """The error for half precision where it cannot be computed."""
    return DeviceError("fp16 cannot be used on the CPU", hint="bf16 or fp32 can")


def has_gpu() -> bool:
    """Whether ``auto`` takes something other than the CPU, as far as that is known without torch."""
    kinds = _built_for()
    return bool(kinds) and (kinds != {"cuda"} or _count_cuda() > 0)


def is_cpu(name: str) -> bool:
    """Whether the device called ``name`` is the CPU, as far as that is known without torch."""
    return name == "cpu" if name != "auto" else not has_gpu()


def expect_precision(precision: Precision, device: str) -> Precision:
    """What "auto" most likely becomes: bf16 on a CUDA device, which nearly all of them compute, else fp32."""
    if precision != "auto":
        return precision
    is_cuda = device.startswith("cuda") or (device == "auto" and has_gpu())
    return "bf16" if is_cuda else "fp32"


def describe_precision(precision: Precision, device: str) -> str:
    """In what learning and making videos compute, for people: the same in both."""
    expected = expect_precision(precision, device)
    if expected == "fp32":
        return "fp32"
    return f"{expected}; {ALWAYS_FP32} in fp32"


def _built_for() -> set[str]:
    """Of cuda and hip what the installed torch was built for, as its version file says."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return set()
    text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    found = re.findall(r"^(cuda|hip)\b[^=\n]*= *(\S+)", text, re.MULTILINE)
    return {kind for kind, version in found if version != "None"}


def _count_cuda() -> int:
    """Devices that NVIDIA's driver shows to this process."""
    try:
        driver = ctypes.CDLL(DRIVERS.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
