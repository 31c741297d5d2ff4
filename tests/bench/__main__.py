"""``make bench``: the table of what is demanded of mlserve's speed, measured against limits and peers in one run.

    core 0   the server of a small model, one at a time      both cores   servers of heavy models, the load beside
    core 1   this process: the load

Each row is measured in pairs that take turns, so that whatever else the machine does falls on both; the ratio is the
median of the pairs. ``--quick`` only looks whether every row works; ``BENCH_ROUNDS`` and ``BENCH_SECONDS`` say how many
pairs, and how long each side of one is. All that was measured is in ``build/bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from mlserve.wiring.benching import machine
from tests.bench import rows_budget, rows_capture, rows_heavy, rows_open, rows_replay, rows_shadow, rows_tabular
from tests.bench.pairs import FOLDER, Bench
from tests.bench.table import as_markdown, as_text

TOPICS = (
    *rows_tabular.TOPICS,
    *rows_heavy.TOPICS,
    *rows_open.TOPICS,
    *rows_capture.TOPICS,
    *rows_replay.TOPICS,
    *rows_shadow.TOPICS,
    *rows_budget.TOPICS,
)


def main() -> None:
    words = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    words.add_argument("--quick", action="store_true", help="two pairs of half a second: does each row work at all?")
    words.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(topic.name for topic in TOPICS))
    asked = words.parse_args()
    unknown = set(asked.topics) - {topic.name for topic in TOPICS}
    if unknown:
        words.error(f"no topic {', '.join(sorted(unknown))}")
    rounds, seconds = (2, 0.5) if asked.quick else (5, 2.0)
    bench = Bench(
        int(os.environ.get("BENCH_ROUNDS", rounds)), float(os.environ.get("BENCH_SECONDS", seconds)), quick=asked.quick
    )
    chosen = [topic for topic in TOPICS if not asked.topics or topic.name in asked.topics]
    began, load = datetime.now(UTC), os.getloadavg()[0]
    lines = [line for topic in chosen for line in topic.run(bench)]
    print(as_text(lines))
    about = {
        "command": " ".join(["python -m tests.bench", *sys.argv[1:]]),
        "began": began.isoformat(),
        "load": load,
        "rounds": bench.rounds,
        "seconds": bench.seconds,
        "machine": machine(),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = {**about, "lines": [line.to_dict() for line in lines]}
    # Only a whole run is for the page.
    name = "part" if asked.quick or asked.topics else "table"
    (FOLDER / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    (FOLDER / f"{name}.md").write_text(as_markdown(lines) + "\n")
    print(f"{bench.rounds} pairs of {bench.seconds:g} s each on {about['machine']}: {FOLDER}/*.json", file=sys.stderr)


if __name__ == "__main__":
    main()
