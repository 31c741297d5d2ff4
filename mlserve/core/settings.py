"""Every setting, its one default, and where its value came from: flag > environment > ``mlserve.toml`` > default."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidConfig

PROJECT_FILE = "mlserve.toml"
PROJECT_HOME = ".mlserve"
ENV_PREFIX = "MLSERVE_"

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
Buckets = Literal["auto", "on", "off"]
DriftAction = Literal["webhook", "command", "rollback", "freeze"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inference server. Sizes in bytes, times in the unit that the name says."""

    host: str = "127.0.0.1"
    port: Port = 8000
    grpc_port: Port | Literal["off"] = 8001
    device: Device = "auto"
    workers: Positive = 1
    max_batch: Positive | None = None
    max_delay_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    lanes: Positive | None = None
    threads: Positive | None = None
    tuned: Literal["auto", "off"] = "auto"
    preferred_batches: tuple[Positive, ...] = ()
    max_queue_rows: Positive = 8192
    length_buckets: Buckets = "auto"
    lone_session: Literal["auto", "off"] = "auto"
    lone_session_max_bytes: Positive = 256 << 20
    request_timeout_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    slo: str | None = None
    response_cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    single_flight: bool | None = None
    metrics: bool = True
    access_log: Literal["off", "sampled", "all"] = "off"
    access_log_file: str | None = None
    access_log_share: Share = 0.01
    traces: str | None = None
    trace_share: Share = 0.01
    unit_key_input: str | None = None
    capture: str | None = None
    capture_all_outputs: bool = False
    capture_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    capture_policy: str | None = None
    capture_key_file: str | None = None
    capture_segment_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 64 << 20
    capture_segment_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    capture_max_bytes: Positive | None = None
    capture_ring_bytes: Positive = 64 << 20
    capture_sync: Literal["none", "interval", "batch"] = "interval"
    shadow_ring_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 64 << 20
    shadow_threads: Positive = 1
    shadow_device: Device = "cpu"
    shadow_answers: bool = True
    shadow_evidence_s: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    max_body_bytes: Positive = 256 << 20
    max_json_bytes: Positive = 32 << 20
    max_grpc_message_bytes: Positive | None = None
    max_header_bytes: Positive = 64 << 10
    max_json_depth: Positive = 100
    max_pipelined: Positive = 64
    max_connections: Positive = 10_000
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None
    api_keys: str | None = None
    manage_routes: Literal["auto", "on", "off"] = "auto"
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 60.0
    idle_timeout_s: Seconds = 120.0
    drain_s: Seconds = 30.0
    warmup_s: Seconds = 30.0
    load_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    generate_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    poll_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Export: tolerances of the parity check, and the default operator set of the ONNX domain."""

    rtol: Annotated[float, msgspec.Meta(ge=0)] = 1e-4
    atol: Annotated[float, msgspec.Meta(ge=0)] = 1e-5
    opset: Positive = 20
    allow_mismatch: Annotated[int, msgspec.Meta(ge=0)] = 0


class QuantizeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quantization's gate: the largest drop of the metric, absolute, in the metric's own units."""

    max_drop: Annotated[float, msgspec.Meta(ge=0)] = 0.01
    min_speedup: Annotated[float, msgspec.Meta(ge=0)] | None = None
    metric: str = "agreement"
    target: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    calibration_rows: Positive = 512
    budget_s: Seconds = 300.0


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Load tests: how long each load is measured in all, in how many repeats, and what an hour of the machine costs."""

    duration_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    warmup_s: Seconds = 1.0
    repeats: Positive = 5
    arrivals: Literal["poisson", "uniform", "bursty"] = "poisson"
    price_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Drift checks: what may alarm, and what follows a verdict. Lengths of time as ``7d`` where the name has no unit.

    ``on_…`` are what is done after a check of that verdict. ``command`` is the words of one program, never a shell's.
    """

    false_pages_per_quarter: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    checks_per_day: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    correction: Literal["bh", "bonferroni", "none"] = "bh"
    max_catch_up: str = "7d"
    lease_s: Annotated[float, msgspec.Meta(ge=1)] = 60.0
    on_warn: tuple[DriftAction, ...] = ()
    on_critical: tuple[DriftAction, ...] = ()
    on_performance: tuple[DriftAction, ...] = ()
    on_stale: tuple[DriftAction, ...] = ()
    debounce: str = "24h"
    quiet_hours: str | None = None
    quiet_zone: str = "UTC"
    webhooks: tuple[str, ...] = ()
    webhook_secret_file: str | None = None
    webhook_hosts: tuple[str, ...] = ()
    webhook_attempts: Positive = 5
    webhook_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    command: tuple[str, ...] = ()
    command_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    folder: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. ``registry`` is a SQLAlchemy URL, ``artifacts`` a path or fsspec URL; None where no project is."""

    registry: str | None = None
    artifacts: str | None = None
    user: str | None = None
    serve: ServeSettings = msgspec.field(default_factory=ServeSettings)
    export: ExportSettings = msgspec.field(default_factory=ExportSettings)
    quantize: QuantizeSettings = msgspec.field(default_factory=QuantizeSettings)
    bench: BenchSettings = msgspec.field(default_factory=BenchSettings)
    drift: DriftSettings = msgspec.field(default_factory=DriftSettings)


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting's dotted name, its value, and the source that won."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings with the origin of each, and the project they belong to (None outside any)."""

    settings: Settings
    origins: tuple[Origin, ...]
    project: Path | None


def find_project(start: Path) -> Path | None:
    """The nearest folder at or above ``start`` that holds ``mlserve.toml`` or ``.mlserve/``, as git finds ``.git``."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file() or (folder / PROJECT_HOME).is_dir():
            return folder
    return None


def resolve(flags: Mapping[str, Any], env: Mapping[str, str], start: Path, config_file: Path | None = None) -> Resolved:
    """The settings in force for a call made in ``start``.

    ``flags`` maps dotted names to values, None meaning "not given". Relative paths in the file are taken from the
    file's folder. Raises InvalidConfig for a file that cannot be read, an unknown name, or a value of the wrong kind.
    """
    project = config_file.parent if config_file else find_project(start)
    file = config_file or (project / PROJECT_FILE if project else None)
    sources = [
        ("default", _project_defaults(project, env)),
        (PROJECT_FILE, _from_file(file) if file and (config_file or file.is_file()) else {}),
        ("environment", _from_env(env)),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ]
    merged: dict[str, tuple[Any, str]] = {}
    for origin, values in sources:
        merged |= {name: (value, origin) for name, value in values.items()}
    settings = _validated(merged, file)
    origins = tuple(
        Origin(name, value, merged[name][1] if name in merged else "default")
        for name, value in _flatten(msgspec.to_builtins(settings))
    )
    return Resolved(settings, origins, project)


def default_registry(project: Path) -> str:
    """The SQLite URL of a project's own registry."""
    return f"sqlite:///{project / PROJECT_HOME / 'registry.db'}"


def _project_defaults(project: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    user = {"user": env["USER"]} if env.get("USER") else {}
    if project is None or not (project / PROJECT_HOME).is_dir():
        return user
    return user | {
        "registry": default_registry(project),
        "artifacts": str(project / PROJECT_HOME / "artifacts"),
    }


def _from_file(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(f"cannot read '{file}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"'{file}' is not TOML: {error}") from error
    values = dict(_flatten(document))
    for name in values:
        _check_known(name, f"in '{file}'")
    artifacts = values.get("artifacts")
    if isinstance(artifacts, str) and "://" not in artifacts:
        values["artifacts"] = str(file.parent / artifacts)
    registry = values.get("registry")
    if isinstance(registry, str) and registry.startswith("sqlite:///") and not registry.startswith("sqlite:////"):
        values["registry"] = f"sqlite:///{file.parent / registry.removeprefix('sqlite:///')}"
    return values


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    """``MLSERVE_SERVE__PORT`` is ``serve.port``; a name without ``__`` counts only if it is one of our own.

    Several values are separated by commas.

    An empty variable is as one that is not set, for many a pipeline cannot unset one.
    """
    values: dict[str, Any] = {}
    known = dict(_flatten(msgspec.to_builtins(Settings())))
    for variable, text in env.items():
        if not variable.startswith(ENV_PREFIX) or not text:
            continue
        name = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if name in known:
            values[name] = text.split(",") if isinstance(known[name], tuple | list) else text
        elif "." in name:
            _check_known(name, f"from {variable}")
    return values


def _check_known(name: str, where: str) -> None:
    known = list(setting_names())
    if name in known:
        return
    is_section = any(setting.startswith(f"{name}.") for setting in known)
    near = f"'{name}' is a section: [{name}]" if is_section else did_you_mean(name, known)
    raise InvalidConfig(f"no setting '{name}' ({where})", hint=near or "mlserve config show")


def setting_names() -> Iterator[str]:
    """Every setting's dotted name, in the order of the sections."""
    yield from (name for name, _ in _flatten(msgspec.to_builtins(Settings())))


def _validated(merged: Mapping[str, tuple[Any, str]], file: Path | None) -> Settings:
    nested: dict[str, Any] = {}
    for name, (value, origin) in merged.items():
        _check_known(name, f"from a {origin}")
        *sections, last = name.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    try:
        return msgspec.convert(nested, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(_complaint(str(error), merged, file)) from error


_COMPLAINT = re.compile(r"(?P<what>.*?)(?:, got `\w+`)? - at `\$\.(?P<name>[\w.]+)`")


def _complaint(text: str, merged: Mapping[str, tuple[Any, str]], file: Path | None) -> str:
    """msgspec's complaint with the value and where it stands.

    >>> _complaint("Expected `int`, got `str` - at `$.serve.port`", {"serve.port": ("x", "flag")}, None)
    "serve.port is 'x' (from a flag): expected int"
    """
    match = _COMPLAINT.fullmatch(text)
    if match is None or match["name"] not in merged:
        return f"a setting cannot be used: {text}"
    name = match["name"]
    value, origin = merged[name]
    variable = ENV_PREFIX + name.upper().replace(".", "__")
    where = {PROJECT_FILE: f"in '{file}'", "environment": f"from {variable}"}.get(origin, f"from a {origin}")
    what = match["what"].replace("`", "")
    return f"{name} is {value!r} ({where}): {what[:1].lower()}{what[1:]}"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def current_env() -> dict[str, str]:
    """A copy of the process's environment: the one place that reads it."""
    return dict(os.environ)
