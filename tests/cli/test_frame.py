"""What holds for every command: help, errors, modes, and what is not imported."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperArgument, TyperCommand, TyperGroup

from mlserve.cli import app
from mlserve.cli.app import commands, main
from tests.cli.conftest import Run

HEAVY = (
    "rich",
    "pydantic",
    "sqlalchemy",
    "alembic",
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "sklearn",
    "pyarrow",
    "uvloop",
)
CONTRACT = {
    "init", "doctor", "config", "export", "compose", "quantize", "register", "list", "show", "diff", "history", "tag",
    "archive", "unarchive", "policy", "promote", "rollback", "withdraw", "serve", "top", "keys", "predict", "bench",
    "conform", "db", "lineage", "tune", "traffic", "outcome", "what-served",
    "replay", "drift",
}  # fmt: skip


def every_command() -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    def walk(path: str, command: TyperCommand | TyperGroup) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(f"{path} {name}".strip(), child)

    yield from walk("", commands())


COMMANDS = [pytest.param(path, command, id=path or "mlserve") for path, command in every_command()]


def test_every_command_of_the_contract_is_there() -> None:
    assert set(commands().commands) == CONTRACT


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_help_page_ends_with_an_example_of_that_command(run: Run, path: str, command: TyperCommand) -> None:
    done = run(*path.split(), "--help")

    assert done.code == 0
    assert done.out.rstrip().splitlines()[-1].strip().startswith(f"mlserve {path}".strip())
    assert done.err == ""


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_command_and_parameter_has_help(path: str, command: TyperCommand) -> None:
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name}"


@pytest.mark.parametrize(("path", "command"), [p for p in COMMANDS if not isinstance(p.values[1], TyperGroup)])
def test_every_command_speaks_json_and_quiet(path: str, command: TyperCommand) -> None:
    options = {option for parameter in command.params for option in parameter.opts}

    assert {"--json", "--quiet"} <= options


@pytest.mark.parametrize(("path", "command"), [p for p in COMMANDS if not isinstance(p.values[1], TyperGroup)])
def test_no_option_hides_a_default_that_belongs_to_the_settings(path: str, command: TyperCommand) -> None:
    roles = {"--label", "--group", "--key", "--time", "--framework"}
    for parameter in command.params:
        if isinstance(parameter, TyperArgument) or roles & set(parameter.opts):
            continue
        assert not parameter.default, f"{path} {parameter.opts}"


@pytest.mark.parametrize(
    "words", [["--help"], ["promote", "--help"], ["serve", "--help"], ["config", "--help"]], ids=" ".join
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    # typer itself turns the words after a command into values with pydantic.
    heavy = [module for module in HEAVY if module != "pydantic" or words == ["--help"]]
    imported = f"[m for m in {heavy} if m in sys.modules]"
    code = f"import sys; from mlserve.cli.app import main; code = main({words}); print({imported}, code)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize("module", sorted(f"mlserve.cli.{name}" for name in ("app", "promote", "serve", "output")))
def test_command_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [(), ("config",), ("policy",), ("db",)], ids=" ".join)
def test_a_group_alone_prints_its_help(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.code == 0
    assert done.out == run(*words, "--help").out


def test_a_mistyped_command_is_met_with_the_nearest(run: Run) -> None:
    done = run("promot")

    assert done.code == 2
    assert done.err == "error: no command 'mlserve promot'\nhint: did you mean 'promote'?\n"


def test_a_mistyped_command_of_a_group_is_met_with_the_nearest(run: Run) -> None:
    assert "did you mean 'upgrade'?" in run("db", "upgrad").err


def test_a_command_like_no_other_is_met_with_the_help(run: Run) -> None:
    assert "hint: mlserve --help" in run("zzzz").err


def test_a_mistyped_option_is_met_with_the_nearest(run: Run) -> None:
    done = run("promote", "fraud:1", "--too", "production")

    assert (done.code, done.out) == (2, "")
    assert done.err == "error: no such option: --too\nhint: did you mean '--to'?\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("promote",), "missing argument 'REF'", id="argument"),
        pytest.param(("promote", "fraud:1"), "missing option '--to'", id="option"),
        pytest.param(("serve", "--port", "x"), "invalid value for '--port'", id="number"),
        pytest.param(("serve", "--port", "70000"), "invalid value for '--port'", id="range"),
        pytest.param(("serve", "--device", "gpu"), "invalid value for '--device'", id="choice"),
        pytest.param(("serve", "--grpc-port", "on"), "invalid value for '--grpc-port'", id="neither port nor off"),
        pytest.param(("nothing",), "no command 'mlserve nothing'", id="command"),
        pytest.param(("promote", "fraud:x", "--to", "production"), "'fraud:x' is not a model ref", id="ref"),
        pytest.param(("promote", "fraud:1", "--to", "prod"), "'prod' is not a stage", id="stage"),
        pytest.param(("withdraw", "fraud"), "'fraud' names no stage", id="no stage"),
        pytest.param(("register", "-x", "m.onnx"), "no such option", id="short option"),
        pytest.param(("register", "a/b", "m.onnx"), "'a/b' is not a model name", id="name"),
        pytest.param(("register", "a", "m.onnx", "--metric", "auc"), "'auc' is not KEY=VALUE", id="metric"),
        pytest.param(("register", "a", "m.onnx", "--metric", "auc=high"), "'high' is not a number", id="not a number"),
        pytest.param(("promote", "a:1", "--to", "production", "--force"), "--force needs a reason", id="force"),
        pytest.param(
            ("promote", "a:1", "--to", "production", "--timeout", "1"), "--timeout is for --wait", id="timeout"
        ),
    ],
)
def test_misuse_is_exit_2_with_one_document_on_stderr(run: Run, words: tuple[str, ...], message: str) -> None:
    done = run(*words, "--json")

    assert done.code == 2
    assert done.error["type"] == "UsageError"
    assert done.error["message"].startswith(message) or message in done.error["message"]
    assert "\n" not in done.error["message"]
    assert not done.error["message"].endswith(".")


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").out.startswith("mlserve 0.")


def test_a_bug_keeps_its_traceback_and_is_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlserve.registry.versions", None)  # what a broken installation looks like

    done, as_json = run("list"), run("list", "--json")

    assert (done.code, done.out) == (1, "")
    assert "Traceback" in done.err
    assert "this is a bug in mlserve" in done.err
    assert as_json.error["type"] == "Bug"
    assert any("Traceback" in line for line in as_json.error["traceback"])


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mlserve", "list", "--json"], capture_output=True, text=True)

    assert done.returncode == 4
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["hint"] == "mlserve init"


def test_main_takes_the_words_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mlserve", "--version"])

    assert main() == 0
    assert "mlserve" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["config", "show"], ["--help"], ["list", "--help"]], ids=" ".join)
def test_a_reader_that_went_away_is_no_error(words: list[str]) -> None:
    code = f"import sys; from mlserve.cli.app import main; sys.exit(main({words}))"

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode == 141
    assert errors == b""


def test_a_name_that_the_terminal_cannot_show_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlserve", "show", "é"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"},
    )

    assert done.returncode == 2
    assert b"'?' is not a model ref" in done.stderr


def test_the_shell_completes_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from mlserve.cli.app import main; sys.exit(main())"],
        capture_output=True,
        text=True,
        env={"_MLSERVE_COMPLETE": "complete_bash", "COMP_WORDS": "mlserve prom", "COMP_CWORD": "1", "PATH": "/usr/bin"},
    )

    assert done.stdout.split() == ["promote"]


class Interrupting(io.StringIO):
    def read(self, *_: object) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["human", "json"])
def test_ctrl_c_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setattr(sys, "stdin", Interrupting())

    done = run("policy", "set", "fraud", *words)

    assert (done.code, done.out) == (130, "")
    assert "interrupted" in done.err
    if words:
        assert done.error["type"] == "Interrupted"


def test_a_librarys_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    app._show_warning(UserWarning("old data\nsecond line"), UserWarning)
    app._show_warning("", UserWarning)
    app._show_nothing(UserWarning("old data"), UserWarning)

    assert capsys.readouterr() == ("", "warning: old data\nwarning: UserWarning\n")


def test_json_is_whole_where_the_terminal_lacks_a_character(project: Path) -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"}
    command = [sys.executable, "-m", "mlserve", "init", "é", "--json"]

    done = subprocess.run(command, capture_output=True, env=environment, check=True)

    assert json.loads(done.stdout)["home"] == str(project / "é" / ".mlserve")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"], ids=["stdin", "stdout", "stderr", "all"])
def test_a_closed_stream_changes_no_exit_code(project: Path, closed: str) -> None:
    def code(*words: str) -> int:
        return subprocess.run(["sh", "-c", f'"$0" -m mlserve "$@" {closed}', sys.executable, *words]).returncode

    assert (code("list"), code("list", "--json"), code("list", "nope"), code("--help")) == (0, 0, 4, 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("--help",)], ids=["table", "json", "help"])
def test_an_answer_that_cannot_be_written_is_told(project: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mlserve", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 9
    assert "cannot write the answer: no space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_hints_that_cannot_be_written_are_no_error(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        codes = [
            subprocess.run([sys.executable, "-m", "mlserve", *words], stdout=subprocess.PIPE, stderr=full).returncode
            for words in (("list",), ("list", "nope"))
        ]

    assert codes == [0, 4]
