"""The quality of a shadow beside production's, as soon as outcomes are known: from the pairs in the capture.

outcomes log ──grown?──► pairs of the capture with labels ──► a comparison of its own ──► what only labels can tell

A thread of the shadow's process looks now and then. The truth comes late, and of few requests, so all of them are
looked at anew each time that there is more of it.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from mlserve.compare.ladder.comparison import Comparison, ComparisonPlan
from mlserve.errors import MlserveError
from mlserve.rows.outcomes import Outcomes
from mlserve.serving.shadow.messages import Opening
from mlserve.traffic.shadowed import Answered, shadowed_pairs

log = logging.getLogger(__name__)

LOOK_S = 30.0
PARTS = ("quality", "calibration", "ranking")
"""The parts of a comparison's figures that come of labels."""


class Labelling:
    """Looks at the capture in ``folder``, of which the shadow of ``opening`` is a part."""

    def __init__(self, folder: Path, opening: Opening, plan: ComparisonPlan) -> None:
        self._folder = folder / opening.name
        self._opening = opening
        self._plan = plan
        self._looking = threading.Lock()
        self._seen: tuple[int, int] = (0, 0)
        self._figures: dict[str, Any] = {}

    def start(self) -> None:
        """Look every while, in a thread of its own."""
        threading.Thread(target=self._keep_looking, name="outcomes", daemon=True).start()

    def figures(self) -> dict[str, Any]:
        """What was found last: ``labelled_rows``, ``PARTS`` and ``metrics``; empty while nothing is known."""
        return self._figures

    def look(self) -> None:
        """Find what there is now. What cannot be read is logged."""
        with self._looking:
            try:
                self._look()
            except MlserveError as error:
                log.warning("the outcomes of '%s' cannot be read: %s", self._opening.name, error.message)
            except Exception:
                log.exception("the outcomes of '%s'", self._opening.name)

    def _look(self) -> None:
        if not self._folder.is_dir():
            return
        outcomes = Outcomes.open(self._folder, self._opening.name)
        seen = len(outcomes), outcomes.newest
        if not seen[0] or seen == self._seen:
            return
        opening = self._opening
        comparison, rows = Comparison(self._plan), 0
        for pairs in shadowed_pairs(
            self._folder,
            Answered(opening.version, opening.digest),
            Answered(opening.champion, opening.champion_digest),
            outcomes,
        ):
            comparison.add(pairs)
            rows += pairs.rows
        self._seen = seen
        if not rows:
            return
        found = comparison.figures(explain=False)
        # Of answers alone all mirrored rows know more than those with a label.
        of_answers = {*(found["distribution"] or ()), f"top{self._plan.top_k}_agreement"}
        self._figures = {
            "labelled_rows": rows,
            "metrics": {name: value for name, value in found["metrics"].items() if name not in of_answers},
            **{part: found[part] for part in PARTS if found.get(part) is not None},
        }

    def _keep_looking(self) -> None:
        wait = threading.Event()
        while True:
            self.look()
            wait.wait(LOOK_S)
