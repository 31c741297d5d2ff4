"""What doctor says of ONNX Runtime, the processor and the GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from mlserve.runtime.ceilings import find_ceilings
from mlserve.wiring.checking import check_everything
from mlserve.wiring.checking_runtime import check_builds, check_ceilings, check_devices, check_processor
from mlserve.wiring.checks import Check
from mlserve.wiring.connecting import settings_in_force

Install = Callable[..., None]


def by_name(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.fixture
def install(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make packages look installed, with the files that they say they have."""
    site = clean_environment / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def packages(*names: str, files: str = "") -> None:
        for name in names:
            folder = site / f"{name.replace('-', '_')}-1.30.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.30.0\n")
            (folder / "RECORD").write_text(files)

    return packages


@pytest.fixture
def on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def test_two_builds_are_told_with_the_command_that_repairs_them(install: Install, on_x86: None) -> None:
    install("onnxruntime", "onnxruntime-gpu")

    (check,) = check_builds()

    assert not check.ok
    assert check.needed
    assert check.detail == (
        "both onnxruntime and onnxruntime-gpu are installed, over each other: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu==1.30.0"
    )


def test_a_build_of_any_name_is_found_by_its_files(install: Install) -> None:
    install("my-onnxruntime", files="onnxruntime/__init__.py,,\n")

    (check,) = check_builds()

    assert not check.ok
    assert "my-onnxruntime and onnxruntime" in check.detail


def test_the_empty_module_that_an_uninstall_leaves_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))

    (check,) = check_builds()

    assert not check.ok
    assert check.detail.startswith("the module is empty")
    assert " && pip install onnxruntime" in check.detail


def test_doctor_goes_on_where_onnxruntime_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))

    checks = by_name(check_everything(lambda: settings_in_force({})))

    assert not checks["onnxruntime"].ok
    assert {"settings", "licences", "registry"} <= checks.keys()
    assert "device cpu" not in checks


def test_the_ceilings_are_told_and_that_onnx_writes_above_them() -> None:
    checks = by_name(check_ceilings())
    found = find_ceilings()

    assert checks["onnx ceilings"].ok
    assert f"IR {found.ir} and opset {found.opset}" in checks["onnx ceilings"].detail
    is_below = found.ir >= onnx.IR_VERSION and onnx.defs.onnx_opset_version() <= found.opset
    assert checks["onnx defaults"].ok is is_below
    assert is_below or f"IR {onnx.IR_VERSION}" in checks["onnx defaults"].detail
    assert not checks["onnx defaults"].needed


@pytest.mark.parametrize(
    ("flags", "there", "missing"),
    [
        pytest.param("fpu sse4_2", set(), {"avx2", "avx512", "vnni", "amx"}, id="old"),
        pytest.param("avx2 avx_vnni", {"avx2", "vnni"}, {"avx512", "amx"}, id="client"),
        pytest.param("avx2 avx512f avx512_vnni amx_int8", {"avx2", "avx512", "vnni", "amx"}, set(), id="server"),
    ],
)
def test_what_the_processor_lacks_is_told_with_what_it_costs(
    flags: str, there: set[str], missing: set[str], tmp_path: Path, on_x86: None
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"model name\t: Small CPU\nflags\t\t: {flags}\n")

    checks = list(check_processor(file))

    assert {check.name.removeprefix("cpu ") for check in checks if check.ok} == there
    assert {check.name.removeprefix("cpu ") for check in checks if not check.ok} == missing
    assert all("Small CPU has none: " in check.detail for check in checks if not check.ok)
    assert not any(check.needed for check in checks)


def test_a_processor_that_says_nothing_is_told(tmp_path: Path) -> None:
    (check,) = check_processor(tmp_path / "none")

    assert (check.name, check.ok, check.needed) == ("cpu flags", False, False)


def test_what_a_gpu_lacks_is_told_part_by_part() -> None:
    checks = by_name(check_devices())

    for device in ("cuda", "tensorrt"):
        check = checks[f"device {device}"]
        assert not check.needed
        assert check.ok or "not found: " in check.detail
    assert checks["device cpu"].ok


def test_a_provider_whose_library_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    built_in = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_in)

    detail = by_name(check_devices(tmp_path))["device cuda"].detail

    assert "libonnxruntime_providers_cuda.so" in detail
    assert "pip install --force-reinstall --no-deps onnxruntime-gpu" in detail


def test_alibi_detect_s_licence_is_told_before_it_is_installed_and_after(install: Install) -> None:
    before = by_name(check_everything(lambda: settings_in_force({})))
    install("alibi-detect")
    after = by_name(check_everything(lambda: settings_in_force({})))

    assert "alibi-detect: Business Source License 1.1" in before["extra drift"].detail + before["licences"].detail
    assert "alibi-detect: Business Source License 1.1" in after["licences"].detail
