"""Documents as a reader uses them: their console blocks typed into a shell, what comes back compared with the page.

In a console block a line after ``$ `` is typed, the lines below it must be what stdout then shows; ``…`` stands for
anything within a line, and alone on a line for any lines. A command that ends in ``&`` is left running and stopped at
the end. Port 8000 is replaced by a free one.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Terminal:
    """A folder in which a document's reader types."""

    folder: Path
    port: int
    env: Mapping[str, str]
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, line: str) -> str:
        words = line.replace("8000", str(self.port))
        if words.endswith("&"):
            with (self.folder / "background.log").open("wb") as log:
                server = subprocess.Popen(
                    words.removesuffix("&").split(), cwd=self.folder, env=self.env, stdout=log, stderr=log
                )
            self.background.append(server)
            self._await_port()
            return ""
        done = subprocess.run(words, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert done.returncode in (0, 7), f"{line}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.replace(str(self.port), "8000")

    def _await_port(self) -> None:
        """Until the server is ready: it listens before its models are loaded."""
        deadline_s = time.monotonic() + 60
        ready = ["curl", "-sf", "-o", os.devnull, f"http://127.0.0.1:{self.port}/v2/health/ready"]
        while time.monotonic() < deadline_s:
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "background.log").read_text())


@contextmanager
def open_terminal(folder: Path, **env: str) -> Iterator[Terminal]:
    """A terminal in ``folder`` with this interpreter's commands on its path; what it left running must end with 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    terminal = Terminal(folder, port, os.environ | path | env)
    try:
        yield terminal
    finally:
        for server in terminal.background:
            server.terminate()
        codes = [server.wait(timeout=60) for server in terminal.background]
    assert codes == [0] * len(codes)


def assert_shows(document: str, terminal: Terminal) -> None:
    """Type every step of ``document``, and compare."""
    steps = list(_steps(document))
    assert steps
    for command, expected in steps:
        shown = terminal.type(command)
        assert re.fullmatch(_pattern(expected), shown.strip()), f"$ {command}\n{shown}\nbut the page has\n{expected}"


def _steps(text: str) -> Iterator[tuple[str, str]]:
    for language, body in BLOCK.findall(text):
        if language != "console":
            continue
        for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            yield command, expected.strip()


def _pattern(expected: str) -> str:
    lines = [
        ".*(?:\n.*)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") for line in expected.split("\n")
    ]
    return "\n".join(lines)
