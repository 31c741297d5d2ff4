"""The examples in docstrings say what happens."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("core", "graph", "rows", "compare", "compare.ladder", "stats", "drift", "drift.detectors")


def module_names() -> list[str]:
    packages = [importlib.import_module(f"mlserve.{name}") for name in PACKAGES]
    return [module.name for one in packages for module in pkgutil.iter_modules(one.__path__, f"{one.__name__}.")]


@pytest.mark.parametrize("name", module_names())
def test_the_examples_of_a_module_hold(name: str):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
