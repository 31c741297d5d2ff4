"""``mlserve tune``: the setting that runs a version best on this machine, measured, and kept with the version.

ref ─► its file ─► the engine of this process, a session a plan ─► search ─► profile ─► evidence of kind "tune"
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlserve.bench.candidates import CLIENTS, SIZES, Space, usual_clients
from mlserve.bench.intervals import t_interval
from mlserve.bench.outcomes import Outcome
from mlserve.bench.runs import Point, run_of
from mlserve.bench.searching import Found, Search
from mlserve.bench.stretches import Stretch
from mlserve.core.progress import Progress, silent
from mlserve.core.slo import Slo
from mlserve.runtime.tuned import KIND, Machine, Setting, TunedProfile
from mlserve.wiring.connecting import connect, now, settings_in_force
from mlserve.wiring.targeting import Asked, file_of, inputs_of, rows_of, taking_the_rows

if TYPE_CHECKING:
    from mlserve.core.settings import ServeSettings
    from mlserve.wiring.calling import CallDriver

BUDGET_S = 300.0
MOST_CLIENTS = 256

STRETCHES = 200
"""A measurement takes the budget divided by so many, unless the model is too slow or too quick for that."""

LEAST_S, MOST_S = 0.1, 2.0
ANSWERS_DEEP = 6
"""A measurement is at least so many times as long as an answer usually takes."""

SETTLE_SHARE = 0.25
WARM_SHARE = 0.05
"""What of the budget each session's warm-up may take."""

TUNED = ("lanes", "threads", "max_batch", "max_delay_ms")
"""The settings of ``serve`` that a profile stands in for, where the user says nothing."""


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What ``tune`` found. ``recorded`` is whether it was kept; ``overruled`` are settings that win over it here."""

    target: str
    profile: TunedProfile
    found: Found[Setting, Outcome]
    clients: int
    rows: int
    slo: Slo | None
    took_s: float
    digest: str | None = None
    data_digest: str | None = None
    recorded: bool = False
    overruled: Sequence[str] = ()

    @property
    def before(self) -> dict[str, Any]:
        """The default and its figures."""
        return asdict(self.found.default) | self._figures(self.found.before)

    @property
    def after(self) -> dict[str, Any]:
        """The profile's setting and its figures: the default's own, measured once, where nothing beat it."""
        return asdict(self.found.best) | self._figures(self.found.after) if self.profile.is_better else self.before

    def to_dict(self) -> dict[str, Any]:
        found = self.found
        return {
            "target": self.target,
            "profile": self.profile.to_dict(),
            "before": self.before,
            "after": self.after,
            "better": self.profile.is_better,
            "gain": found.gain,
            "gain_interval": found.interval,
            "rival": None if found.best == found.default else asdict(found.best),
            "pairs": len(found.after),
            "slo": self.slo.text if self.slo else None,
            "clients": self.clients,
            "rows": self.rows,
            "tried": [
                asdict(one.setting) | {"rows_per_s": one.score, "measurements": one.measurements} for one in found.tried
            ],
            "took_s": self.took_s,
            "digest": self.digest,
            "data_digest": self.data_digest,
            "recorded": self.recorded,
        }

    def _figures(self, samples: Sequence[Outcome]) -> dict[str, Any]:
        run = run_of(
            Point(self.clients), samples, rows=self.rows, slo=self.slo, price_per_hour=None, ceiling_rps=None
        ).to_dict()
        p50 = [1e3 * one.latencies.percentiles_s([0.5])[0] for one in samples if one.answered]
        rows = [self.rows * one.rps for one in samples]
        return {
            "rows_per_s": run["rows_per_s"],
            "rows_per_s_interval": t_interval(rows),
            "p50_ms": run["p50_ms"],
            "p50_ms_interval": t_interval(p50),
            "p99_ms": run["p99_ms"],
            "p99_ms_interval": run["p99_ms_interval"],
            "goodput_rows_per_s": run["goodput_rps"] * self.rows,
            "slo_met": run["slo_met"],
            "requests": run["requests"],
            "errors": run["errors"],
        }


def tune_target(
    target: str,
    *,
    asked: Asked,
    budget_s: float,
    slo: Slo | None = None,
    clients: int | None = None,
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> TuneReport:
    """The best lanes, threads, largest batch and, with ``slo``, hold for ``target`` here, found within ``budget_s``.

    ``clients`` None is 64, fewer for a slow model; with ``slo``, as many as the default can have and keep it. What is
    found for a version of the registry is kept with it. Raises NotFound, Unavailable, and InvalidInput for rows that
    the model does not take.
    """
    began_s, flags = time.monotonic(), flags or {}
    resolved = settings_in_force(flags, config_file)
    origins = {one.name: one.origin for one in resolved.origins}
    overruled = tuple(name for name in TUNED if origins[f"serve.{name}"] != "default")
    with file_of(target, flags, config_file) as (path, digest, _), ExitStack() as stack:
        stack.enter_context(_switching_as_a_server())
        bench = _Bench(path, resolved.settings.serve, asked, slo, budget_s, stack)
        bench.settle(clients, progress)
        left_s = max(0.0, began_s + budget_s - time.monotonic())
        search = Search(bench.measure, bench.score, time.monotonic, left_s, progress)
        found = search.run(bench.space.coarse(), bench.space.near)
        machine, rows, data_digest = bench.machine(), bench.rows, bench.data_digest
    best = found.best if found.is_better else found.default
    profile = TunedProfile(machine, best, found.is_better, now())
    took_s = time.monotonic() - began_s
    report = TuneReport(target, profile, found, bench.clients, rows, slo, took_s, digest, data_digest, False, overruled)
    return report if digest is None else _recorded(report, flags, config_file)


class _Bench:
    """The model behind engines of this process: one for each plan of lanes and threads, made when it is first asked.

    ``default``, ``space`` and ``clients`` are known once ``settle`` was called.
    """

    def __init__(
        self, path: Path, settings: ServeSettings, asked: Asked, slo: Slo | None, budget_s: float, stack: ExitStack
    ) -> None:
        warmup_s = min(settings.warmup_s, WARM_SHARE * budget_s)
        blank: dict[str, Any] = dict.fromkeys(TUNED)
        self._settings = msgspec.structs.replace(settings, tuned="off", warmup_s=warmup_s, **blank)
        self._path = path
        self._asked = asked
        self._slo = slo
        self._stack = stack
        self._drivers: dict[tuple[int, int], CallDriver] = {}
        self._stretch_s = max(LEAST_S, min(MOST_S, budget_s / STRETCHES))
        self.clients = CLIENTS
        self.rows = asked.rows
        self.data_digest: str | None = None
        self.default: Setting
        self.space: Space

    def settle(self, clients: int | None, progress: Progress) -> None:
        """Load the default, and find out what to ask it with: how many clients, and for how long."""
        from mlserve.runtime.providers import CPU
        from mlserve.runtime.threads import plan_for_throughput, usable_cores

        progress("loading", 0, None)
        plan = plan_for_throughput(usable_cores())
        loaded = self._driver(plan.lanes, plan.threads_per_run).loaded
        self.default = Setting(plan.lanes, plan.threads_per_run, loaded.max_rows)
        is_on_cpu = loaded.view.providers[0] == CPU
        # Buffers and engines of other devices are made when a version is loaded, for no larger batch than this.
        largest_rows = SIZES[-1] if is_on_cpu else loaded.max_rows
        progress("finding the load", 0, None)
        if clients is not None:
            self.clients = clients
        elif self._slo is None:
            self.clients = usual_clients(loaded.costs, plan.lanes)
        else:
            self.clients = self._clients_within(self._slo)
        self.space = Space(
            usable_cores(),
            self.default,
            is_batchable=loaded.view.is_batchable,
            is_inline=loaded.is_inline,
            largest_rows=min(largest_rows, self.clients * self.rows),
            is_on_cpu=is_on_cpu,
            limit_ms=None if self._slo is None else 1e3 * self._slo.limit_s,
        )
        usual_s = self.measure(self.default).latencies.percentiles_s([0.5])[0]
        self._stretch_s = max(self._stretch_s, min(ANSWERS_DEEP * usual_s, 30.0)) if usual_s > 0 else self._stretch_s

    def measure(self, setting: Setting) -> Outcome:
        """What a stretch of load brought with ``setting``."""
        driver = self._driver(setting.lanes, setting.threads)
        driver.loaded.max_rows = setting.max_batch
        driver.loaded.max_delay_s = setting.max_delay_ms / 1e3
        stretch = Stretch(self.clients, self._stretch_s, SETTLE_SHARE * self._stretch_s, drain_s=30.0)
        return driver.run(stretch, lambda: None)

    def score(self, sample: Outcome) -> float:
        """Rows a second; those within the objective, where there is one."""
        within = sample.answered if self._slo is None else sample.latencies.within(self._slo.limit_s)
        return sample.rps * self.rows * within / max(1, sample.answered)

    def machine(self) -> Machine:
        """What the figures hold for."""
        from mlserve.runtime.machine import machine_here

        driver = self._driver(self.default.lanes, self.default.threads)
        return machine_here(driver.loaded.view.providers[0], self.space.cores)

    def _clients_within(self, slo: Slo) -> int:
        """The most clients, of powers of two, whose requests the default answers within the objective; 1 at least."""
        most = 1
        while most < MOST_CLIENTS and (self._is_met_by(2 * most, slo) or self._is_met_by(2 * most, slo)):
            most *= 2
        while most > 1 and not self._is_met_by(most, slo):  # once more, for a single look may have been lucky
            most //= 2
        return most

    def _is_met_by(self, clients: int, slo: Slo) -> bool:
        self.clients = clients
        seen = self.measure(self.default)
        return slo.is_met(seen.requests, seen.latencies.within(slo.limit_s))

    def _driver(self, lanes: int, threads: int) -> CallDriver:
        from mlserve.wiring.calling import calling

        if (lanes, threads) not in self._drivers:
            settings = msgspec.structs.replace(self._settings, lanes=lanes, threads=threads)
            driver = self._stack.enter_context(calling(self._path, settings))
            inputs, self.data_digest = inputs_of(driver.signature, self._asked)
            taking_the_rows(self._asked, lambda: driver.learn([dict(arrays) for arrays in inputs]))
            self.rows = rows_of(inputs[0])
            self._drivers[lanes, threads] = driver
        return self._drivers[lanes, threads]


@contextmanager
def _switching_as_a_server() -> Iterator[None]:
    """Threads take turns as they do in a server."""
    from mlserve.serving.server import SWITCH_INTERVAL_S

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


def _recorded(report: TuneReport, flags: Mapping[str, Any], config_file: Path | None) -> TuneReport:
    """Keep the profile as evidence of the version.

    The machine is among the tools, so that profiles of several machines stand side by side.
    """
    from mlserve.core.evidence import Evidence, tool_versions
    from mlserve.registry.evidencing import add_evidence

    assert report.digest is not None
    left_out = ("target", "profile", "tried", "digest", "data_digest", "recorded")
    figures = {name: value for name, value in report.to_dict().items() if name not in left_out}
    tools = tool_versions("onnxruntime", "onnxruntime-gpu") | {"machine": str(report.profile.machine)}
    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        evidence = Evidence(
            KIND,
            report.digest,
            None,
            report.profile.to_dict() | figures,
            report.profile.measured_at,
            app.user,
            data_digest=report.data_digest,
            tools=tools,
        )
        add_evidence(app.store, evidence)
    return replace(report, recorded=True)
