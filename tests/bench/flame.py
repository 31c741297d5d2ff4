"""The hot path as a tree: ``python -m tests.bench.flame``, with py-spy (https://github.com/benfred/py-spy) on the PATH.

py-spy looks at the server's stack some hundred times a second while 64 clients ask it; of what holds the interpreter,
each line shows the part of the samples in which a function was at work, itself or through what it called. What uvloop
does in C, reading and writing sockets among it, is in its own line.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import models
from tests.bench.pairs import FOLDER
from tests.bench.rows_tabular import ours
from tests.bench.servers import LOAD_CORE, on_cores
from tests.bench.table import NotAvailable

SECONDS = 8.0
RATE_HZ = 400
LEAST_SHARE = 0.015
_LINE = re.compile(r":\d+\)$")


@dataclass
class Node:
    """A function, the samples that it was in, and those of what it called."""

    samples: int = 0
    called: dict[str, Node] = field(default_factory=dict)


def tree_of(stacks: Iterable[str], root: str) -> Node:
    """Collapsed stacks (``a;b;c 7``) as a tree below the last frame that begins with ``root``; others are left out.

    >>> tree_of(["m;loop (f.py:1);work (g.py:2) 3", "m;other (h.py:1) 5"], "loop").called["work (g.py)"].samples
    3
    """
    whole = Node()
    for line in stacks:
        stack, _, count = line.strip().rpartition(" ")
        frames = stack.split(";")
        starts = [number for number, frame in enumerate(frames) if frame.startswith(root)]
        if not starts:
            continue
        whole.samples += int(count)
        at = whole
        for frame in frames[starts[-1] + 1 :]:
            at = at.called.setdefault(_LINE.sub(")", frame), Node())
            at.samples += int(count)
    return whole


def drawn(node: Node, total: int, depth: int = 0) -> Iterator[str]:
    """Lines of the tree, the largest first; what is smaller than it is worth is left out."""
    for name, child in sorted(node.called.items(), key=lambda item: -item[1].samples):
        share = child.samples / total
        if share >= LEAST_SHARE:
            yield f"{share:6.1%}  {'  ' * depth}{name}"
            yield from drawn(child, total, depth + 1)


def record(raw: Path) -> None:
    """Write collapsed stacks of a tabular server under 64 clients. Raises NotAvailable."""
    program = shutil.which("py-spy")
    if program is None:
        raise NotAvailable("py-spy is not on the PATH: pip install py-spy")
    with on_cores(LOAD_CORE), ours(models.tabular()) as server:
        load = threading.Thread(target=server.load, args=(64, SECONDS + 2), daemon=True)
        load.start()
        words = ["record", "--gil", "-r", str(RATE_HZ), "-d", f"{SECONDS:g}", "-f", "raw", "-o", str(raw)]
        done = subprocess.run([program, *words, "--pid", str(server.pid)], capture_output=True, text=True)
        load.join()
    if done.returncode:
        raise NotAvailable(f"py-spy: {done.stderr.strip()}")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = FOLDER / "flame.raw"
    try:
        record(raw)
    except NotAvailable as error:
        sys.exit(str(error))
    whole = tree_of(raw.read_text(encoding="utf-8").splitlines(), "Runner.run")
    text = "\n".join(drawn(whole, whole.samples))
    (FOLDER / "flame.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
