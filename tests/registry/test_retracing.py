"""Rollback's rule, held by any past there can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlserve.registry.retracing import PastMove, version_before

MOVES = st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["rollback", "withdraw"])), max_size=30)


@given(MOVES, st.sets(st.integers(1, 5)))
def test_no_rollback_returns_to_a_version_rolled_back_from(script: list[int | str], archived: set[int]) -> None:
    past: list[PastMove] = []
    rejected: set[int] = set()
    for step in script:
        current = past[-1].version if past else None
        if step == "rollback":
            target = version_before(past, archived)
            if target is None:
                continue
            assert target not in rejected | archived
            assert target != current
            assert target in {move.version for move in past}
            rejected |= {current} - {None}
            past.append(PastMove("rollback", target))
        elif step == "withdraw":
            past.append(PastMove("withdraw", None))
        else:
            past.append(PastMove("promote", int(step)))


@given(st.lists(st.integers(1, 5), max_size=20))
def test_rolling_back_again_and_again_ends(promoted: list[int]) -> None:
    past = [PastMove("promote", version) for version in promoted]

    for _ in range(6):
        target = version_before(past, archived=())
        if target is None:
            break
        past.append(PastMove("rollback", target))

    assert version_before(past, archived=()) is None
