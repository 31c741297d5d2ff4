"""Names and files become a running server that follows the registry."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlserve.core.refs import parse_name
from mlserve.core.settings import ServeSettings, current_env
from mlserve.errors import UsageError
from mlserve.wiring.connecting import App, connect, settings_in_force
from mlserve.wiring.predicting import is_path

if TYPE_CHECKING:
    from mlserve.serving.following import Upstream
    from mlserve.serving.supervising.seats import Seat

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve_targets(
    targets: Sequence[str],
    *,
    emit: Callable[[Mapping[str, Any]], None],
    warn: Callable[[str], None],
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    seat: Seat | None = None,
) -> signal.Signals:
    """Serve ``targets``, models of the registry and ``.onnx`` files, until a signal ends it, and return which.

    Without targets, every model of the registry, those that come later too. Each event goes to ``emit``, "ready" first.
    With several workers this process starts and watches them; ``seat`` is the place of one of them. Raises UsageError
    for what is neither a name nor a file, and as ``serving.server.serve``.
    """
    from mlserve.serving.parts import Targets
    from mlserve.serving.server import serve

    resolved = settings_in_force(flags or {}, config_file)
    settings = resolved.settings.serve
    if settings.traces is None and current_env().get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        settings = _traced(settings, warn)
    origins = {one.name: one.origin for one in resolved.origins}
    must_have_grpc = origins["serve.grpc_port"] != "default"
    if settings.port == 0 and not must_have_grpc:
        # Whoever takes any port for HTTP has no use for a fixed one beside it.
        settings = msgspec.structs.replace(settings, grpc_port=0)
    files = tuple(Path(target) for target in targets if is_path(target))
    names = tuple(_name(target) for target in targets if not is_path(target)) if targets else None
    if settings.workers > 1:
        from mlserve.serving.parts import objective_of
        from mlserve.wiring.workers import Job, supervise

        objective_of(settings)  # what no worker could start with is no reason to start any
        job = Job(tuple(targets), dict(flags or {}), config_file)
        with _logging_to_stderr():
            return supervise(job, settings, emit, warn=warn, must_have_grpc=must_have_grpc)
    with ExitStack() as stack:
        upstream = None
        if names is None or names:
            app = stack.enter_context(connect(config_file, flags=flags, registry=(flags or {}).get("registry")))
            upstream = _upstream(app)
        stack.enter_context(_logging_to_stderr())
        what = Targets(files, names, upstream)
        return serve(what, settings, emit, warn=warn, must_have_grpc=must_have_grpc, seat=seat)


def _traced(settings: ServeSettings, warn: Callable[[str], None]) -> ServeSettings:
    """Traces to where OpenTelemetry's own variables say, if its packages are there: the variables may be for others."""
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        warn("OTEL_EXPORTER_OTLP_ENDPOINT is set, but there are no traces without: pip install 'mlserve[otel]'")
        return settings
    return msgspec.structs.replace(settings, traces="otel")


def _name(target: str) -> str:
    try:
        return parse_name(target)
    except UsageError as error:
        name = target.partition(":")[0].partition("@")[0]
        raise UsageError(
            f"'{target}' is neither a model's name nor an .onnx file",
            hint=f"mlserve serve {name or 'NAME'} serves what stands in its stages",
        ) from error


def _upstream(app: App) -> Upstream:
    from mlserve.serving.registry import Identity, RegistryUpstream

    identity = Identity(secrets.token_hex(8), socket.gethostname(), os.getpid(), app.clock())
    capture = app.settings.serve.capture
    return RegistryUpstream(
        app.store, app.artefacts, identity, app.clock, capture=None if capture is None else Path(capture)
    )


@contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """What the server's parts log goes to stderr, each line with its time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logger = logging.getLogger("mlserve")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
