"""What ``mlserve doctor`` says of ONNX Runtime, of the processor for it, and of what a GPU lacks.

Nothing here asks ONNX Runtime for its table of kernels: without CUDA that call ends the process.
"""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

from mlserve.runtime.processor import CPUINFO, cpu_flags, processor_name
from mlserve.wiring.checks import Check, requirements, version_of

MODULE = "onnxruntime"
BUILDS = (MODULE, "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "ort-nightly", "ort-nightly-gpu")
"""Packages that all install the one module ``onnxruntime``, over each other. Source: onnxruntime#26996."""


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that a processor can do: any of Linux's ``flags`` for it, and what is lost without."""

    name: str
    flags: frozenset[str]
    lost: str


X86_FEATURES = (
    Feature("avx2", frozenset({"avx2"}), "every kernel runs on 128-bit registers, and all models are slow"),
    Feature("avx512", frozenset({"avx512f"}), "FP32 kernels use 256-bit registers: dense models are slower"),
    Feature(
        "vnni",
        frozenset({"avx512_vnni", "avx_vnni"}),
        "INT8 has no dot products, gains little speed over FP32, and its sums may saturate: measure before you use it",
    ),
    Feature("amx", frozenset({"amx_int8"}), "INT8 matrices go through VNNI, if it is there, or less"),
)
ARM_FEATURES = (
    Feature("dotprod", frozenset({"asimddp"}), "INT8 has no dot products and gains little speed over FP32"),
    Feature("i8mm", frozenset({"i8mm"}), "INT8 matrices go through dot products, if they are there"),
)


def check_builds() -> Iterator[Check]:
    """Whether one build of ONNX Runtime is installed, and whole."""
    builds = _builds()
    if len(builds) > 1:
        detail = f"both {' and '.join(builds)} are installed, over each other: {repair(builds)}"
        yield Check(MODULE, False, detail)
        return
    try:
        module = importlib.import_module(MODULE)
    except ImportError as error:
        yield Check(MODULE, False, f"cannot be imported: {error}; {repair(builds)}")
        return
    if not is_whole(module):
        detail = f"the module is empty, as uninstalling one of two builds leaves it: {repair(builds)}"
        yield Check(MODULE, False, detail)
        return
    yield Check(MODULE, True, f"{module.__version__} ({', '.join(builds) or 'not installed by pip'})")


def is_whole(module: ModuleType) -> bool:
    """Whether ``onnxruntime`` is more than a folder that an uninstall left behind."""
    return all(hasattr(module, name) for name in ("InferenceSession", "get_available_providers", "__version__"))


def repair(builds: list[str]) -> str:
    """What to type for one whole build of ONNX Runtime.

    >>> repair(["none-such", "onnxruntime"]).split(" && ")[0]
    'pip uninstall -y none-such onnxruntime'
    """
    wanted = "onnxruntime-gpu" if (sys.platform, platform.machine()) == ("linux", "x86_64") else MODULE
    installed = version_of(wanted)
    ranges = [one.range for one in requirements() if one.name == wanted and one.extra is None]
    exact = f"{wanted}=={installed}" if installed else f"'{wanted}{ranges[0] if ranges else ''}'"
    return f"pip uninstall -y {' '.join(builds or [wanted])} && pip install {exact}"


def check_ceilings() -> Iterator[Check]:
    """Whether ONNX Runtime loads what mlserve writes, and what onnx writes where nobody says which."""
    from mlserve.runtime.ceilings import find_ceilings, onnx_writes

    ceilings, written = find_ceilings(), onnx_writes()
    loads = f"loads up to IR {ceilings.ir} and opset {ceilings.opset}"
    yield Check("onnx ceilings", ceilings.is_enough, f"onnxruntime {version_of_module()} {loads} (tried)")
    above = [
        f"{name} {of_onnx}"
        for name, of_onnx, limit in (
            ("IR", written.ir, ceilings.ir),
            ("opset", written.opset, ceilings.opset),
        )
        if of_onnx > limit
    ]
    said = f"onnx {version_of('onnx')} writes IR {written.ir} and opset {written.opset} where nobody says which"
    if above:
        how = f"helper.make_model(…, ir_version=10, opset_imports=[…]) with opset {ceilings.opset} at most"
        said += f": {' and '.join(above)} cannot be loaded here. `mlserve export` writes what can; in own code {how}"
    yield Check("onnx defaults", not above, said, needed=False)


def check_processor(cpuinfo: Path = CPUINFO) -> Iterator[Check]:
    """What the processor lacks for ONNX Runtime's kernels, and what that costs."""
    flags, name = cpu_flags(cpuinfo), processor_name(cpuinfo)
    is_arm = platform.machine().lower() in ("aarch64", "arm64")
    if flags is None:
        yield Check("cpu flags", False, f"{name}: what it can do cannot be read here", needed=False)
        return
    for feature in ARM_FEATURES if is_arm else X86_FEATURES:
        there = sorted(feature.flags & flags)
        detail = ", ".join(there) if there else f"{name} has none: {feature.lost}"
        yield Check(f"cpu {feature.name}", bool(there), detail, needed=False)


def check_devices(folder: Path | None = None) -> Iterator[Check]:
    """Which devices models can run on; of the others, every part that is missing and how to get it.

    ``folder`` is the one with the libraries of ONNX Runtime, None for where it is installed.
    """
    import onnxruntime

    from mlserve.runtime.providers import (
        CPU,
        CUDA,
        PROVIDER_LIBRARIES,
        TENSORRT,
        how_to_get,
        missing_for,
        site_folder,
    )
    from mlserve.runtime.threads import usable_cores

    available = onnxruntime.get_available_providers()
    yield Check("device cpu", CPU in available, f"{usable_cores()} cores may be used at once")
    for device, provider in (("cuda", CUDA), ("tensorrt", TENSORRT)):
        missing = missing_for(provider, available)
        library = (folder or site_folder() / MODULE / "capi") / PROVIDER_LIBRARIES[provider]
        if provider in available and not library.is_file():
            missing.append(library.name)
        detail = f"not found: {', '.join(missing)} ({how_to_get(missing)})" if missing else _works(provider)
        yield Check(f"device {device}", not missing, detail, needed=False)


def version_of_module() -> str:
    """The version that ``onnxruntime`` itself gives."""
    return str(importlib.import_module(MODULE).__version__)


def _works(provider: str, driver: Path = Path("/proc/driver/nvidia/version")) -> str:
    try:
        first, *_ = driver.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return provider
    return f"{provider}; {' '.join(first.split())}"


def _builds() -> list[str]:
    """The installed packages that hold the module, by name, each once."""
    holders = {name.lower().replace("_", "-") for name in metadata.packages_distributions().get(MODULE, ())}
    return sorted(holders | {name for name in BUILDS if version_of(name) is not None})
