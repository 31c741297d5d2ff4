from __future__ import annotations

import subprocess
import sys

import pytest

import mlserve


def test_every_name_of_the_api_is_there() -> None:
    for name in mlserve.__all__:
        assert getattr(mlserve, name) is not None
    assert dir(mlserve) == sorted(mlserve.__all__)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mlserve.nonsense


def test_importing_mlserve_imports_nothing_else() -> None:
    ours = "[name for name in sys.modules if name.startswith('mlserve') or name in ('numpy', 'typer', 'msgspec')]"
    code = f"import sys, mlserve; print({ours})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['mlserve']"
