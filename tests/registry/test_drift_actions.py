"""Every step of what was done about drift is kept, and comes back newest first."""

from __future__ import annotations

from mlserve.core.digests import digest_bytes
from mlserve.registry.drift_actions import ActionRecord, actions_of, record_action
from mlserve.registry.evidencing import evidence_of
from mlserve.registry.store import Store
from tests.registry.making import at

DIGEST = digest_bytes(b"one")


def test_steps_come_back_newest_first_with_all_that_was_said(store: Store) -> None:
    begun = ActionRecord("webhook", "begun", "sha256:run", "critical", ("age", "plan"), at(0))
    done = ActionRecord("webhook", "done", "sha256:run", "critical", ("age", "plan"), at(1), "200", {"attempts": 2})
    for one in (begun, done):
        record_action(store, DIGEST, "sha256:window", one, by="drift")

    assert actions_of(store, DIGEST) == [done, begun]
    assert actions_of(store, DIGEST, since=at(0.5)) == [done]
    assert actions_of(store, digest_bytes(b"other")) == []
    newest = evidence_of(store, DIGEST)[0]
    assert (newest.kind, newest.passed, newest.measured_by) == ("drift_action", True, "drift")
