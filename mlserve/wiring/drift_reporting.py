"""Where a check's answer goes beside stdout: a page, JUnit, Prometheus' textfile, GitHub's annotations and summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckOutputs:
    """Files to write, None for none."""

    report: Path | None = None
    junit: Path | None = None
    textfile: Path | None = None

    @property
    def files(self) -> list[str]:
        return [str(file) for file in (self.report, self.junit, self.textfile) if file is not None]

    def check(self) -> None:
        """Refuse what could not be written, before the work. Raises MissingExtra, InvalidInput."""
        from mlserve.core.files import check_writable

        if self.report is not None:
            from mlserve.wiring.benching import check_report

            check_report(self.report)
        for file in (self.junit, self.textfile):
            if file is not None:
                check_writable(file)


def write_outputs(document: Document, outputs: CheckOutputs) -> None:
    """Write every file that was asked for, whole or not at all. Raises InvalidInput."""
    from mlserve.core.files import replacing

    if outputs.report is not None:
        from mlserve.report.drift import render_drift

        with replacing(outputs.report) as partial:
            partial.write_text(render_drift(document), encoding="utf-8")
    if outputs.junit is not None:
        from mlserve.report.drift_telling import junit_of
        from mlserve.report.junit import render_junit

        with replacing(outputs.junit) as partial:
            partial.write_bytes(render_junit("mlserve drift check", junit_of(document)))
    if outputs.textfile is not None:
        from mlserve.report.drift_telling import textfile_of

        ended_at = datetime.fromisoformat(document["ended_at"])
        with replacing(outputs.textfile) as partial:
            partial.write_text(textfile_of(document, ended_at=ended_at), encoding="utf-8")


def told_to_github(document: Document, env: Mapping[str, str]) -> list[str]:
    """Annotations for a workflow's log, none outside of one; the summary is added to the job's page.

    Raises InvalidInput where that cannot be written.
    """
    if env.get("GITHUB_ACTIONS") != "true":
        return []
    from mlserve.core.files import os_errors
    from mlserve.report.drift_telling import annotations_of, step_summary

    if summary := env.get("GITHUB_STEP_SUMMARY"):
        path = Path(summary)
        with os_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(step_summary(document))
    return annotations_of(document)
