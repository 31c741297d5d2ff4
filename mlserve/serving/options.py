"""How a server loads versions: as its settings say, and where they say nothing, as a version was tuned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mlserve.core.settings import Buckets, Device, ServeSettings
from mlserve.runtime.threads import ThreadPlan, plan_of
from mlserve.runtime.tuned import TunedProfile


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How versions are loaded in this server. ``max_batch`` in rows, None for what the measured costs say.

    ``lone_max_bytes`` is the size of the largest model that gets a second session, 0 for none. ``has_lattice`` says
    whether runs are of the lattice's sizes only, None where that is so on a device that is not the CPU; ``preferred``
    are more of its sizes. ``engines`` is the folder for what TensorRT builds. ``all_outputs`` computes what no request
    asked for too. ``load_timeout_s`` and ``generate_timeout_s`` are what the process of a language model may take to
    begin, and to go on with one batch of texts.

    ``tuned_cores`` are the cores of this process, for which a version's own profile may say lanes, threads, largest
    batch and delay; None for no profile. ``lanes`` and ``max_delay_s`` are then the profile's, None for the server's;
    ``chosen`` is what the user chose, "plan" or "max_delay", and no profile changes, as it changes no ``max_batch``.
    """

    device: Device
    threads: ThreadPlan
    max_batch: int | None
    warmup_s: float
    length_buckets: Buckets = "auto"
    lone_max_bytes: int = 0
    has_lattice: bool | None = None
    preferred: tuple[int, ...] = ()
    engines: Path | None = None
    tuned_cores: int | None = None
    chosen: frozenset[str] = frozenset()
    lanes: int | None = None
    max_delay_s: float | None = None
    tuned: str = ""
    all_outputs: bool = False
    load_timeout_s: float = 600.0
    generate_timeout_s: float = 300.0


def options_of(settings: ServeSettings, cores: int) -> LoadOptions:
    """How a server with these settings loads versions, where it may use ``cores``."""
    chosen = {
        "plan": settings.lanes is not None or settings.threads is not None,
        "max_delay": settings.max_delay_ms is not None,
    }
    return LoadOptions(
        settings.device,
        plan_of(cores, settings.lanes, settings.threads),
        settings.max_batch,
        settings.warmup_s,
        length_buckets=settings.length_buckets,
        lone_max_bytes=settings.lone_session_max_bytes if settings.lone_session == "auto" else 0,
        preferred=settings.preferred_batches,
        load_timeout_s=settings.load_timeout_s,
        generate_timeout_s=settings.generate_timeout_s,
        all_outputs=settings.capture is not None and settings.capture_all_outputs,
        tuned_cores=cores if settings.tuned == "auto" else None,
        chosen=frozenset(name for name, is_chosen in chosen.items() if is_chosen),
    )


def with_profile(options: LoadOptions, profile: TunedProfile) -> LoadOptions:
    """``options`` with what ``profile`` says of all that the user did not choose himself."""
    setting = profile.setting
    used: dict[str, float] = {}
    if "plan" not in options.chosen:
        plan = ThreadPlan(setting.lanes, setting.threads)
        options = replace(options, threads=plan, lanes=plan.lanes)
        used |= {"lanes": setting.lanes, "threads": setting.threads}
    if options.max_batch is None:
        options = replace(options, max_batch=setting.max_batch)
        used |= {"max_batch": setting.max_batch}
    if "max_delay" not in options.chosen and setting.max_delay_ms:
        options = replace(options, max_delay_s=setting.max_delay_ms / 1e3)
        used |= {"max_delay_ms": setting.max_delay_ms}
    if not used:
        return options
    said = ", ".join(f"{name} {value:g}" for name, value in used.items())
    return replace(options, tuned=f"{said} (measured {profile.measured_at:%Y-%m-%d})")
