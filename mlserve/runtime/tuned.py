"""What ``tune`` found for a model on one kind of machine, and which of it holds here. Pure values.

A profile is kept as evidence of kind ``tune``. It is used only where processor, cores, provider and ONNX Runtime are
those that it was measured with: what pays on one machine may cost on another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mlserve.core.evidence import Evidence
from mlserve.errors import InvalidInput

KIND = "tune"
SCHEMA = 1
"""Of the figures; a profile of another schema is as one that is not there."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures of speed depend on: the processor's name, the cores that may be used, provider and runtime."""

    cpu: str
    cores: int
    provider: str
    onnxruntime: str

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.cpu}, {cores}, {self.provider}, onnxruntime {self.onnxruntime}"


@dataclass(frozen=True, slots=True)
class Setting:
    """How a version is run: at most ``lanes`` runs at a time, each of ``threads`` threads and ``max_batch`` rows at
    most, after a hold of up to ``max_delay_ms`` for more rows."""

    lanes: int
    threads: int
    max_batch: int
    max_delay_ms: float = 0.0

    def __str__(self) -> str:
        lanes = "1 lane" if self.lanes == 1 else f"{self.lanes} lanes"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        rows = "1 row" if self.max_batch == 1 else f"{self.max_batch} rows"
        hold = f", hold {self.max_delay_ms:g} ms" if self.max_delay_ms else ""
        return f"{lanes} × {threads}, {rows}{hold}"


@dataclass(frozen=True, slots=True)
class TunedProfile:
    """``setting`` was the best found on ``machine``; where not ``is_better``, it is the default, which nothing beat."""

    machine: Machine
    setting: Setting
    is_better: bool
    measured_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """The part of the evidence's figures that is read again."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine),
            **asdict(self.setting),
            "better": self.is_better,
        }


def profiles_in(evidence: Iterable[Evidence]) -> list[TunedProfile]:
    """The profiles that this registry's own commands measured; what cannot be read is passed over."""
    found = []
    for item in evidence:
        if item.kind == KIND and item.origin == "measured":
            try:
                found.append(read_profile(item.figures, item.measured_at))
            except InvalidInput:
                continue
    return found


def read_profile(figures: Mapping[str, Any], measured_at: datetime) -> TunedProfile:
    """The inverse of ``to_dict``. Raises InvalidInput for what is none, and for another schema."""
    try:
        if figures["schema"] != SCHEMA:
            raise InvalidInput(f"a profile of schema {figures['schema']}, known here is {SCHEMA}")
        said = figures["machine"]
        machine = Machine(str(said["cpu"]), int(said["cores"]), str(said["provider"]), str(said["onnxruntime"]))
        counts = [int(figures[name]) for name in ("lanes", "threads", "max_batch")]
        lanes, threads, max_batch = counts
        setting = Setting(lanes, threads, max_batch, float(figures["max_delay_ms"]))
        if min(counts) < 1 or not 0 <= setting.max_delay_ms < 1e6:
            raise InvalidInput("a profile of less than one lane, thread or row")
        return TunedProfile(machine, setting, bool(figures["better"]), measured_at)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("not a profile of tune") from error


def profile_for(machine: Machine, profiles: Iterable[TunedProfile]) -> TunedProfile | None:
    """The newest profile measured on such a machine, if it is better than the default; None where there is none."""
    here = [profile for profile in profiles if profile.machine == machine]
    newest = max(here, key=lambda profile: profile.measured_at, default=None)
    return newest if newest is not None and newest.is_better else None
