"""``mlserve top``: a server is looked at again and again, and what it did in between is told."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlserve.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from mlserve.serving.metrics.rates import Rate, ShadowRate, busy_cores, rates, shadow_rates
from mlserve.serving.metrics.reading import Scrape, scrape_of
from mlserve.wiring.remote import authorization, parse_url

INTERVAL_S = 1.0
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a server did in the ``interval_s`` before ``at``."""

    at: datetime
    interval_s: float
    url: str
    rates: list[Rate]
    connections: int
    cores: float
    rss_bytes: int
    shadows: list[ShadowRate] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "interval_s": round(self.interval_s, 3),
            "url": self.url,
            "connections": self.connections,
            "cores": round(self.cores, 3),
            "rss_bytes": self.rss_bytes,
            "models": [rate.to_dict() for rate in self.rates],
            "shadows": [rate.to_dict() for rate in self.shadows],
        }


def server_url(text: str | None, config_file: Path | None = None) -> str:
    """The base URL of the server meant: ``text``, else where the settings say that one listens. Raises UsageError."""
    if text is not None:
        return parse_url(text if "://" in text else f"http://{text}").base
    from mlserve.wiring.connecting import settings_in_force

    settings = settings_in_force({}, config_file).settings.serve
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


def look(
    url: str,
    *,
    interval_s: float,
    count: int | None = None,
    key: str | None = None,
    read: Callable[[str], str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Look]:
    """One ``Look`` an interval, ``count`` of them or without end.

    ``key`` is an API key. Raises Unavailable where no server answers, NotFound where it has no metrics, Unauthenticated
    and Forbidden, InvalidInput where it is no mlserve.
    """
    fetch = read or partial(metrics_text, key=key)
    before, before_s = scrape_of(fetch(url)), clock()
    due_s, made = before_s, 0
    while count is None or made < count:
        due_s += interval_s
        sleep(max(0.0, due_s - clock()))
        after, after_s = scrape_of(fetch(url)), clock()
        yield _look(url, now(), before, after, max(after_s - before_s, 1e-9))
        before, before_s, made = after, after_s, made + 1


def metrics_text(url: str, *, key: str | None = None) -> str:
    """What ``/metrics`` of the server at ``url`` says. Raises Unavailable, NotFound, Unauthenticated, Forbidden."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}/metrics", headers=authorization(key))
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        raise Unavailable(f"no server answers at {url}: {reason.lower()}", hint="mlserve serve") from error
    finally:
        connection.close()
    if response.status == http.client.NOT_FOUND:
        raise NotFound(f"the server at {url} tells no metrics", hint="MLSERVE_SERVE__METRICS=true mlserve serve")
    if response.status == http.client.UNAUTHORIZED:
        raise Unauthenticated(f"the server at {url} asks for an API key", hint="mlserve top --api-key-file FILE")
    if response.status == http.client.FORBIDDEN:
        raise Forbidden("the API key may not see metrics", hint="mlserve keys add NAME --scope metrics")
    if response.status != http.client.OK:
        raise Unavailable(f"the server at {url} answers {response.status} where its metrics should be")
    return text


def _look(url: str, at: datetime, before: Scrape, after: Scrape, seconds: float) -> Look:
    return Look(
        at=at,
        interval_s=seconds,
        url=url,
        rates=rates(before, after, seconds),
        connections=int(after.server.get("connections", 0)),
        cores=busy_cores(before, after, seconds),
        rss_bytes=int(after.server.get("rss_bytes", 0)),
        shadows=shadow_rates(before, after, seconds),
    )
