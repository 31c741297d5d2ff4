"""What a user installs: the wheel alone in an empty environment, and never two ONNX Runtimes in one."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.processes import serving

ROOT = Path(__file__).parents[1]
BASE_LIMIT_BYTES = 750 << 20
"""As `du -m` counts; onnxruntime-gpu alone is 338 of it."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.glob("mlserve-*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked: all that somebody has who gets no checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.glob("mlserve-*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / path.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a new environment that holds the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return folder / "bin"


def test_the_wheel_carries_the_migrations_and_the_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "mlserve/py.typed" in names
    assert "mlserve/_migrations/env.py" in names
    assert [name for name in names if name.startswith("mlserve/_migrations/versions/")]


def test_the_wheel_carries_nothing_but_the_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"mlserve"}


def test_the_sdist_builds_the_same_wheel(unpacked: Path, wheel: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=unpacked, check=True)
    (again,) = tmp_path.glob("mlserve-*.whl")

    assert _contents(again) == _contents(wheel)


def test_the_sdist_carries_what_a_distributor_runs_and_nothing_of_this_machine(unpacked: Path) -> None:
    names = {path.name for path in unpacked.iterdir()} - {".gitignore"}

    assert names == {
        "CHANGELOG.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "constraints.txt", "pyproject.toml",
        "docs", "examples", "migrations", "mlserve", "tests",
    }  # fmt: skip
    assert not [path for path in unpacked.rglob("*") if path.suffix in (".pyc", ".onnx", ".db", ".log")]


def test_one_onnx_runtime_is_installed_and_not_two() -> None:
    assert len(metadata.packages_distributions()["onnxruntime"]) == 1


@pytest.mark.timeout(900)
def test_a_wheel_alone_can_init_register_serve_and_predict(alone: Path, tmp_path: Path) -> None:
    model = models.saved(models.classifier(), tmp_path / "tab.onnx")
    rows = tmp_path / "rows.npz"
    np.savez(rows, x=np.ones((3, 4), np.float32))
    mlserve = [str(alone / "mlserve")]

    def run(*words: str) -> object:
        done = subprocess.run([*mlserve, *words, "--json"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("init")
    run("register", "tab", str(model))
    run("promote", "tab:1", "--to", "production")
    with serving(mlserve, tmp_path, "tab") as url:
        over_http = run("predict", url, str(rows))
    in_process = run("predict", "tab", str(rows))

    assert over_http == in_process


@pytest.mark.timeout(900)
def test_a_wheel_alone_brings_no_training_framework_and_stays_small(alone: Path) -> None:
    site = next((alone.parent / "lib").glob("python3*/site-packages"))
    names = {path.name for path in site.iterdir()}
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    pip = sum(path.stat().st_size for path in (site / "pip").rglob("*") if path.is_file())

    assert not names & {"torch", "scipy", "sklearn", "pandas", "transformers", "alibi_detect"}
    assert size - pip <= BASE_LIMIT_BYTES


def test_every_extra_of_the_design_exists() -> None:
    extras = set(metadata.metadata("mlserve").get_all("Provides-Extra") or [])

    assert extras >= {
        "sklearn", "text", "otel", "torch", "boosting", "transformers", "llm", "drift", "drift-lite",
        "postgres", "s3", "ray", "report", "all", "dev",
    }  # fmt: skip


def test_no_file_of_the_repository_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    here = str(ROOT.parent) + os.sep

    guilty = [name for name in listed if here.encode() in (ROOT / name).read_bytes()]

    assert guilty == []


def _contents(wheel: Path) -> dict[str, int]:
    """Each file with its checksum."""
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.CRC for item in archive.infolist()}
