"""Moving versions between stages: promote, roll back, withdraw. Each is one transaction over one stage's seat.

    lock the version ─▶ lock the seat, read (holder, generation) ─▶ expectation ─▶ gates
      ─▶ UPDATE stages … WHERE generation = :seen ─▶ history row ─▶ epoch + 1

The compare-and-set on the generation is what makes it correct; the locks (SQLite's writer lock, PostgreSQL's row locks)
only let contenders wait for each other instead of being refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from mlserve.core.refs import ModelRef, Stage
from mlserve.core.tensors import Signature
from mlserve.errors import Conflict, NotFound, UsageError
from mlserve.registry.evidencing import read_evidence
from mlserve.registry.freezing import frozen_gate, read_freeze
from mlserve.registry.gating import Candidate, evaluate, is_refused, warnings_of
from mlserve.registry.labels import checked_text
from mlserve.registry.policies import read_policy
from mlserve.registry.reading import refs_of
from mlserve.registry.records import Expect, Gate, Move
from mlserve.registry.resolving import model_row, version_row
from mlserve.registry.retracing import PastMove, version_before
from mlserve.registry.schema import model_versions, stage_history, version_metrics
from mlserve.registry.seats import Seat, Transfer, read_seat, take_seat, transfer_seat
from mlserve.registry.store import Store, add_to_epoch


def promote(
    store: Store,
    ref: ModelRef,
    stage: Stage,
    *,
    by: str,
    now: datetime,
    expect: Expect | None = None,
    traffic: float | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    force: bool = False,
) -> Move:
    """Let the version that ``ref`` names stand in ``stage``, in place of what stands there.

    ``traffic`` is a share from 0 to 1; another share for the present holder is a move too. A refusal by gates is an
    answer: ``allowed`` is False. ``force`` passes the gates and needs a reason; ``dry_run`` only judges.
    Raises Conflict for an archived version, for another holder than expected and for a lost compare-and-set, NotFound,
    UsageError, InvalidInput, Unavailable.
    """
    reason = _checked_reason(reason)
    if force and reason is None:
        raise UsageError("a forced promotion needs a reason", hint="--force --reason TEXT")
    if traffic is not None and not 0 <= traffic <= 1:
        raise UsageError(f"traffic is a share of 0 to 1 (0 % to 100 %), not {traffic}")

    def work(connection: Connection) -> Move:
        version = version_row(connection, ref)
        if not dry_run:
            version = _held_version(connection, version.id)
        _refuse_archived(version, ref.name)
        seat = (
            read_seat(connection, version.model_id, stage)
            if dry_run
            else take_seat(connection, version.model_id, stage, now)
        )
        _check_expected(connection, expect, ref.name, seat)
        if seat.version_id == version.id and traffic in (None, seat.traffic):
            return _unchanged(connection, seat, version.id, traffic=seat.traffic, dry_run=dry_run)
        policy = read_policy(connection, version.model_id, ref.name)
        evidence = read_evidence(connection, version.digest)
        candidate = _candidate(connection, ref.name, version)
        production = _production(connection, ref.name, version.model_id)
        gates = evaluate(policy.policy, stage, candidate, evidence, production, now=now)
        if stage is Stage.PRODUCTION and (held := read_freeze(connection, ref.name)).frozen:
            gates.append(frozen_gate(held))
        allowed = force or not is_refused(gates)
        if dry_run or not allowed:
            return _unchanged(
                connection, seat, version.id, gates=gates, allowed=allowed, traffic=traffic, dry_run=dry_run
            )
        transfer = Transfer("promote", version.id, by, now, reason, gates, force, traffic, policy.revision)
        return _changed(connection, seat, transfer)

    if dry_run:
        with store.reading() as connection:
            return work(connection)
    return store.write(work)


def rollback(
    store: Store, name: str, *, by: str, now: datetime, expect: Expect | None = None, reason: str | None = None
) -> Move:
    """Let production go back to what stood there before; again goes further back.

    Never to a version that was rolled back from, nor to an archived one; gates are not asked. Raises Conflict for
    another holder than expected, NotFound when nothing is left to go back to, InvalidInput, Unavailable.
    """
    reason = _checked_reason(reason)

    def work(connection: Connection) -> Move:
        model_id = model_row(connection, name).id
        seat = take_seat(connection, model_id, Stage.PRODUCTION, now)
        _check_expected(connection, expect, name, seat)
        target = version_before(_past(connection, model_id, Stage.PRODUCTION), _archived(connection, model_id))
        if target is None:
            raise NotFound(f"nothing is left to roll '{name}' back to", hint=f"mlserve history {name}")
        _refuse_archived(_held_version(connection, target), name)
        return _changed(connection, seat, Transfer("rollback", target, by, now, reason))

    return store.write(work)


def withdraw(store: Store, name: str, stage: Stage, *, by: str, now: datetime, reason: str | None = None) -> Move:
    """Empty a stage; ``changed`` is False where it is empty already. Raises NotFound, InvalidInput, Unavailable."""
    reason = _checked_reason(reason)

    def work(connection: Connection) -> Move:
        seat = take_seat(connection, model_row(connection, name).id, stage, now)
        if seat.version_id is None:
            return _unchanged(connection, seat, None)
        return _changed(connection, seat, Transfer("withdraw", None, by, now, reason))

    return store.write(work)


def _changed(connection: Connection, seat: Seat, transfer: Transfer) -> Move:
    generation = transfer_seat(connection, seat, transfer)
    refs = refs_of(connection, [transfer.version_id, seat.version_id])
    # Last of all: see add_to_epoch.
    add_to_epoch(connection)
    return Move(
        ref=_ref(refs, transfer.version_id),
        stage=seat.stage,
        previous=_ref(refs, seat.version_id),
        generation=generation,
        changed=True,
        forced=transfer.forced,
        traffic=transfer.traffic,
        gates=tuple(transfer.gates),
        warnings=tuple(warnings_of(transfer.gates)),
    )


def _unchanged(
    connection: Connection,
    seat: Seat,
    version_id: int | None,
    *,
    gates: Sequence[Gate] = (),
    allowed: bool = True,
    traffic: float | None = None,
    dry_run: bool = False,
) -> Move:
    refs = refs_of(connection, [version_id, seat.version_id])
    return Move(
        ref=_ref(refs, version_id),
        stage=seat.stage,
        previous=_ref(refs, seat.version_id),
        generation=seat.generation,
        changed=False,
        allowed=allowed,
        dry_run=dry_run,
        traffic=traffic,
        gates=tuple(gates),
        warnings=tuple(warnings_of(gates)),
    )


def _ref(refs: dict[int, str], version_id: int | None) -> str | None:
    return None if version_id is None else refs[version_id]


def _held_version(connection: Connection, version_id: int) -> Row[Any]:
    """The version's row, held against archiving until the transaction ends."""
    query = select(model_versions).where(model_versions.c.id == version_id).with_for_update(read=True)
    return connection.execute(query).one()


def _refuse_archived(version: Row[Any], name: str) -> None:
    if version.state == "archived":
        where = f"{name}:{version.version}"
        raise Conflict(f"'{where}' is archived", hint=f"mlserve unarchive {where}")


def _check_expected(connection: Connection, expect: Expect | None, name: str, seat: Seat) -> None:
    if expect is None:
        return
    if expect.ref is not None and expect.ref.name != name:
        raise UsageError(f"'{expect.ref}' cannot be expected in a stage of '{name}'")
    expected = None
    if expect.ref is not None:
        # A version's number is compared as it is, so that expecting one that never was is a conflict as well.
        number = expect.ref.version or version_row(connection, expect.ref).version
        expected = f"{name}:{number}"
    holder = _ref(refs_of(connection, [seat.version_id]), seat.version_id)
    if holder != expected:
        found = f"'{holder}'" if holder else "nothing"
        said = f"'{expected}'" if expected else "nothing"
        raise Conflict(f"{seat.stage} of '{name}' holds {found}, not {said}", hint=f"mlserve history {name}")


def _candidate(connection: Connection, name: str, version: Row[Any]) -> Candidate:
    values = select(version_metrics.c.name, version_metrics.c.value).where(version_metrics.c.version_id == version.id)
    metrics = {row.name: row.value for row in connection.execute(values)}
    return Candidate(f"{name}:{version.version}", Signature.from_dict(version.signature), metrics)


def _production(connection: Connection, name: str, model_id: int) -> Candidate | None:
    holder = read_seat(connection, model_id, Stage.PRODUCTION).version_id
    if holder is None:
        return None
    row = connection.execute(select(model_versions).where(model_versions.c.id == holder)).one()
    return _candidate(connection, name, row)


def _past(connection: Connection, model_id: int, stage: Stage) -> list[PastMove]:
    query = (
        select(stage_history.c.action, stage_history.c.version_id)
        .where(stage_history.c.model_id == model_id, stage_history.c.stage == stage.value)
        .order_by(stage_history.c.generation)
    )
    return [PastMove(row.action, row.version_id) for row in connection.execute(query)]


def _archived(connection: Connection, model_id: int) -> set[int]:
    query = select(model_versions.c.id).where(
        model_versions.c.model_id == model_id, model_versions.c.state == "archived"
    )
    return set(connection.execute(query).scalars())


def _checked_reason(reason: str | None) -> str | None:
    """The reason without blanks around it, None for an empty one."""
    return checked_text("the reason", reason).strip() or None if reason is not None else None
