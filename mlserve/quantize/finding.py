"""What is known of the data that a quantization was calibrated and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlserve.quantize.calibration import Calibration, RangeRule
from mlserve.quantize.coverage import Coverage, coverage_objections
from mlserve.quantize.holding_out import HeldOut, digests_of


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of rows: its sha256 address and its bytes."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CalibrationFound:
    """The rows calibrated on, how many of them were ``distinct``, and what evaluation data says of them.

    ``dropped`` of the ``evaluation_rows`` were among them and are left out; ``coverage`` is None without such data.
    """

    rule: RangeRule
    data: DataFile
    rows: int
    distinct: int
    dropped: int
    evaluation_rows: int | None
    coverage: Coverage | None

    @property
    def objections(self) -> tuple[str, ...]:
        """Why nothing should rest on this calibration."""
        reasons = [] if self.coverage is None else coverage_objections(self.coverage)
        if self.distinct == 1 and self.rows > 1:
            reasons.insert(0, f"the calibration data is one row, {self.rows} times over")
        return tuple(reasons)

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.dropped:
            return ()
        return (f"{self.dropped} of the {self.evaluation_rows} evaluation rows were calibrated on, and are left out",)

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "rows": self.rows,
            "distinct_rows": self.distinct,
            "digest": self.data.digest,
            "size_bytes": self.data.size_bytes,
            "dropped_rows": self.dropped,
            "evaluation_rows": self.evaluation_rows,
            "coverage": None if self.coverage is None else self.coverage.to_dict(),
        }


def data_of(evaluation: HeldOut) -> DataFile:
    """The file that ``evaluation`` is from."""
    return DataFile(evaluation.digest, evaluation.size_bytes)


def calibration_found(
    calibration: Calibration, evaluation: HeldOut | None, coverage: Coverage | None
) -> CalibrationFound:
    """What there is to say of ``calibration``, whose rows are read once more to be counted."""
    return CalibrationFound(
        rule=calibration.rule,
        data=DataFile(calibration.rows.digest, calibration.rows.path.stat().st_size),
        rows=sum(batch.rows for batch in calibration.batches(1024)),
        distinct=len(digests_of(calibration)),
        dropped=0 if evaluation is None else evaluation.dropped,
        evaluation_rows=None if evaluation is None else evaluation.total_rows,
        coverage=coverage,
    )
