"""The documents say what is: their blocks run, the places they name exist, no command or option is left out."""

import re
import tomllib
from pathlib import Path

import pytest

from tests import conformance_page, models
from tests.console import BLOCK, assert_shows, open_terminal
from tests.options_page import current, leaves

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PLACES = (ROOT, ROOT / "mlserve")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[a-z_][\w.-]*(?:/[\w.-]+)*(?:/|\.py)")
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def test_the_page_of_the_command_line_has_every_option_and_setting() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")

    assert text == current(text), "type: make docs"


def test_the_page_of_the_command_line_has_every_command_in_its_table() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    table = text.partition("## Commands")[2].partition("## ")[0]
    listed = _CODE.findall("".join(line.split(" | ")[0] for line in table.splitlines()))

    missing = [words for words, _ in leaves() if not any(f"{usage} ".startswith(f"{words} ") for usage in listed)]

    assert missing == []


def test_the_page_of_conformance_has_every_rule() -> None:
    text = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")

    assert text == conformance_page.current(text), "type: make docs"


@each_document
def test_every_document_that_a_document_links_to_exists(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))

    assert [target for target in targets if not (document.parent / target).exists()] == []


@each_document
def test_every_place_in_the_code_that_a_document_names_exists(document: Path) -> None:
    prose = BLOCK.sub("", document.read_text(encoding="utf-8"))
    named = [code for code in _CODE.findall(prose) if _PATH.fullmatch(code)]

    assert [name for name in named if not any((place / name).exists() for place in PLACES)] == []


def test_the_map_names_every_package() -> None:
    text = (ROOT / "docs/structures.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (ROOT / "mlserve").glob("*/__init__.py")]

    assert [name for name in packages if f"| `{name}/` |" not in text] == []


@pytest.mark.timeout(300)
def test_the_server_speaks_as_its_page_shows(tmp_path: Path) -> None:
    models.saved(models.classifier(), tmp_path / "tab.onnx")

    with open_terminal(tmp_path) as terminal:
        assert_shows((ROOT / "docs/protocol.md").read_text(encoding="utf-8"), terminal)


@pytest.mark.timeout(300)
def test_the_exporter_of_the_guide_works_as_a_package_of_its_own(tmp_path: Path) -> None:
    text = (ROOT / "docs/adding_an_exporter.md").read_text(encoding="utf-8")
    installed = tmp_path / "installed"
    installed.mkdir()
    for language, body in BLOCK.findall(text):
        if language == "python":
            (installed / body.partition("\n")[0].removeprefix("# ")).write_text(body, encoding="utf-8")
    (project,) = [tomllib.loads(body)["project"] for language, body in BLOCK.findall(text) if language == "toml"]
    _record_as_installed(project, installed)
    (tmp_path / "m.line").write_text('{"weights": [1, 2, 3], "bias": 0.5}')
    (tmp_path / "build.py").write_text("import lines\n\nmodel = lines.load('m.line')\n")
    (tmp_path / "rows.csv").write_text("a,b,c\n1,2,3\n4,5,6\n7,8,9\n")

    with open_terminal(tmp_path, PYTHONPATH=str(installed)) as terminal:
        assert_shows(text, terminal)


def _record_as_installed(project: dict[str, object], folder: Path) -> None:
    """What an installer leaves of a project: its name, version and entry points."""
    info = folder / f"{str(project['name']).replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups: dict[str, dict[str, str]] = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
