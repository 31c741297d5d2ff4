"""Arms that everybody computes alike, that stay when shares grow, and that are as large as they should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.assignment import CHAMPION, arm_of, position_of, salt_of

KEYS = [f"user-{number}" for number in range(20_000)]
SHARES = st.floats(0.0, 1.0)


def test_positions_are_those_of_the_rule_as_it_is_written_down() -> None:
    # Fixed for ever: captured traffic is assigned again by whoever reads it. Made with coreutils' b2sum -l 64.
    assert position_of("user-1", "fraud:7") == 0xE4C16FA834B8B99F
    assert position_of("", "") == 0x94F6D9CDD1EA8248


def test_a_challenger_gets_its_share() -> None:
    for share in (0.05, 0.3):
        found = sum(arm_of(key, "m:2", [share]) for key in KEYS) / len(KEYS)

        # Four standard deviations of a share of 20,000 keys.
        assert abs(found - share) < 4 * (share * (1 - share) / len(KEYS)) ** 0.5


@given(st.text(), SHARES, SHARES)
def test_raising_a_share_keeps_whoever_is_in(key: str, one: float, other: float) -> None:
    less, more = sorted((one, other))

    if arm_of(key, "m:2", [less]) != CHAMPION:
        assert arm_of(key, "m:2", [more]) == 1


@given(st.text())
def test_nobody_is_in_an_arm_of_nothing_and_everybody_in_one_of_all(key: str) -> None:
    assert arm_of(key, "m:2", []) == arm_of(key, "m:2", [0.0]) == CHAMPION
    assert arm_of(key, "m:2", [1.0]) == 1


def test_another_challenger_draws_anew() -> None:
    first = [arm_of(key, salt_of("m", 2), [0.5]) for key in KEYS]
    second = [arm_of(key, salt_of("m", 3), [0.5]) for key in KEYS]

    same = sum(one == other for one, other in zip(first, second, strict=True)) / len(KEYS)
    assert abs(same - 0.5) < 4 * 0.5 / len(KEYS) ** 0.5


def test_several_challengers_get_their_shares_side_by_side() -> None:
    arms = [arm_of(key, "m:2", [0.1, 0.2]) for key in KEYS]

    for arm, share in ((1, 0.1), (2, 0.2), (CHAMPION, 0.7)):
        assert abs(arms.count(arm) / len(KEYS) - share) < 0.02
