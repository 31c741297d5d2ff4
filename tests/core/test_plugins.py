"""Tables of plugins."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlserve.core.plugins import Plugin, Registry, missing_extra
from mlserve.errors import MissingExtra, NotFound, UsageError


def registry_of(**plugins: Plugin) -> Registry[object]:
    return Registry("exporter", group="mlserve.test_exporters", builtin=plugins)


def test_a_plugin_is_imported_when_it_is_asked_for():
    assert registry_of(counter=Plugin("collections:Counter"))["counter"] is __import__("collections").Counter


def test_listing_imports_nothing():
    registry = registry_of(broken=Plugin("no.such.module:Thing"))

    assert list(registry) == ["broken"]


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(NotFound, match="no exporter 'skleran'") as caught:
        _ = registry_of(sklearn=Plugin("x:y"), torch=Plugin("x:y"))["skleran"]

    assert caught.value.hint == "did you mean 'sklearn'?"


def test_an_unheard_of_name_names_all():
    with pytest.raises(NotFound) as caught:
        _ = registry_of(sklearn=Plugin("x:y"), torch=Plugin("x:y"))["qqq"]

    assert caught.value.hint == "there are sklearn, torch"


def test_a_name_that_is_promised_for_later_is_told_from_a_misspelt_one():
    later = Registry[object]("method", group="none", builtin={"int8-dynamic": Plugin("x:y")}, planned=("int8",))

    with pytest.raises(NotFound, match="method 'int8' is not offered by this version") as caught:
        _ = later["int8"]

    assert caught.value.hint == "there are int8-dynamic"


def test_a_choice_that_is_not_there_is_a_matter_of_usage():
    with pytest.raises(UsageError, match="no exporter 'skleran'") as caught:
        registry_of(sklearn=Plugin("x:y")).chosen("skleran")

    assert caught.value.hint == "did you mean 'sklearn'?"


def test_a_missing_package_says_what_to_install():
    plugin = Plugin("no_such_library.sub:Thing", needs=("no_such_library.sub",), extra="fancy")

    with pytest.raises(MissingExtra, match="'no_such_library', which is not installed") as caught:
        plugin.load()

    assert caught.value.hint == "pip install 'mlserve[fancy]'"


def test_a_module_that_is_not_there_by_our_own_fault_keeps_its_error():
    with pytest.raises(ModuleNotFoundError):
        Plugin("mlserve.no_such_module:Thing", needs=("numpy",), extra="fancy").load()


def test_a_failing_import_inside_a_plugin_keeps_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_plugin.py").write_text("from collections import no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ImportError, match="no_such_name"):
        Plugin("broken_plugin:Thing", needs=("broken_plugin",), extra="fancy").load()


def test_plugins_of_other_packages_come_from_their_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mlserve.test_exporters]\nkeras = collections:OrderedDict\nsklearn = collections:deque\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert metadata.version("other") == "1.0"

    registry = registry_of(sklearn=Plugin("collections:Counter"))

    assert list(registry) == ["sklearn", "keras"]
    assert registry["keras"] is __import__("collections").OrderedDict
    assert registry["sklearn"] is __import__("collections").Counter


def test_the_missing_extra_is_an_exact_command():
    assert missing_extra("jinja2", "report").hint == "pip install 'mlserve[report]'"
