"""Tell other systems: a signed JSON message to each webhook, again where it did not arrive; what came of it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlserve.core.digests import digest_bytes
from mlserve.core.evidence import isoformat
from mlserve.drift.actions.occasion import Effect, Occasion
from mlserve.drift.actions.posting import Destination, Response, destination_of, post
from mlserve.drift.actions.signing import read_secrets, signed_headers
from mlserve.errors import InvalidConfig, Unavailable

ATTEMPT_S = 10.0
FIRST_PAUSE_S = 1.0
AGAIN = frozenset({408, 425, 429, *range(500, 600)})
"""What may be otherwise in a moment; any other refusal is final, a redirect too."""

Post = Callable[[Destination, Mapping[str, str], bytes, float], Response]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one message: the last status (None: no answer), after how many attempts."""

    to: str
    message_id: str
    arrived: bool
    attempts: int
    status: int | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "to": self.to,
            "id": self.message_id,
            "arrived": self.arrived,
            "attempts": self.attempts,
            "status": self.status,
            "error": self.error,
        }


def act(occasion: Occasion, send: Post = post) -> Effect:
    """Send the message to each of ``drift.webhooks``, all within ``drift.webhook_timeout_s``. Raises InvalidConfig."""
    settings = occasion.settings
    secrets = read_secrets(Path(settings.webhook_secret_file or ""))
    body = json.dumps(message_of(occasion), allow_nan=False, ensure_ascii=False).encode()
    until = occasion.clock() + timedelta(seconds=settings.webhook_timeout_s)
    found = [_deliver(occasion, url, secrets, body, until, send) for url in settings.webhooks]
    arrived = sum(one.arrived for one in found)
    wrong = "; ".join(f"{one.to}: {one.error or f'status {one.status}'}" for one in found if not one.arrived)
    detail = f"{arrived} of {len(found)} delivered" + (f"; {wrong}" if wrong else "")
    return Effect(
        "done" if arrived == len(found) else "failed", detail, {"deliveries": [one.to_dict() for one in found]}
    )


def message_of(occasion: Occasion) -> dict[str, Any]:
    """What is told: the verdict and what drifts by how much; no row of the window, for rows are people's."""
    document = occasion.document
    shown = ("name", "test", "effect", "threshold", "p_value", "adjusted_p_value", "severity", "since")
    features = [
        {name: feature.get(name) for name in shown}
        for feature in document.get("features") or ()
        if feature.get("drift")
    ]
    window = document.get("window") or {}
    return {
        "type": f"drift.{occasion.alarm.verdict}",
        "timestamp": isoformat(occasion.clock()),
        "data": {
            "ref": occasion.ref,
            "digest": occasion.digest,
            "profile": document.get("profile"),
            "run": occasion.key,
            "verdict": occasion.alarm.verdict,
            "subjects": list(occasion.alarm.subjects),
            "reasons": list(document.get("reasons") or ()),
            "window": {name: window.get(name) for name in ("kind", "start", "end", "rows", "digest")},
            "features": features,
        },
    }


def _deliver(occasion: Occasion, url: str, secrets: list[bytes], body: bytes, until: datetime, send: Post) -> Delivery:
    """One message, under one id however often it is sent, by which a receiver knows that it has it already."""
    settings = occasion.settings
    message_id = "msg_" + digest_bytes(f"{occasion.key} {url}".encode()).removeprefix("sha256:")[:32]
    label, status, error = "a webhook", None, None
    for attempt in range(1, settings.webhook_attempts + 1):
        now = occasion.clock()
        pause_s = FIRST_PAUSE_S * 2 ** (attempt - 1)
        left_s = (until - now).total_seconds()
        if left_s <= 0:
            return Delivery(label, message_id, False, attempt - 1, status, error or (None if status else "out of time"))
        try:
            to = destination_of(url, settings.webhook_hosts)
            label = to.label
            headers = signed_headers(secrets, message_id, int(now.timestamp()), body)
            answer = send(to, headers, body, min(ATTEMPT_S, left_s))
        except InvalidConfig as refused:
            return Delivery(label, message_id, False, attempt, None, refused.message)
        except Unavailable as gone:
            status, error = None, gone.message
        else:
            status, error = answer.status, None
            if 200 <= answer.status < 300 or answer.status not in AGAIN:
                return Delivery(label, message_id, 200 <= answer.status < 300, attempt, status, None)
            pause_s = max(pause_s, answer.retry_after_s or 0.0)
        if attempt < settings.webhook_attempts:
            occasion.sleep(max(0.0, min(pause_s, (until - occasion.clock()).total_seconds())))
    return Delivery(label, message_id, False, settings.webhook_attempts, status, error)
