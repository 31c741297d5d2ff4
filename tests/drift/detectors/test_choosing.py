"""Which detector looks at which columns, and the table they are chosen from."""

from __future__ import annotations

import pytest

from mlserve.drift.detectors.choosing import Choice, choose, made
from mlserve.drift.detectors.detector import Options, Takes
from mlserve.drift.detectors.engines import ALIBI, SCIPY, engine_named
from mlserve.drift.detectors.table import DETECTORS
from mlserve.errors import UsageError

KINDS = {"age": Takes.NUMERIC, "income": Takes.NUMERIC, "sex": Takes.BINARY, "plan": Takes.CATEGORICAL}


def names(choices: list[Choice]) -> dict[str, tuple[str, ...]]:
    return {choice.detector: choice.columns for choice in choices}


def test_every_detector_of_the_table_loads_and_says_what_it_is():
    for name in DETECTORS:
        detector = DETECTORS[name]

        assert detector.name == name
        assert isinstance(detector.takes, Takes)
        assert detector.smallest_rows >= 10
        assert detector.cost


def test_kinds_decide():
    found = names(choose(KINDS, (5000, 500), engine=SCIPY))

    assert found == {"ks": ("age", "income"), "fisher": ("sex",), "chi2": ("plan",)}


@pytest.mark.parametrize(
    ("rows", "number", "two_values"),
    [
        pytest.param((80, 60), "cvm", "fisher", id="few"),
        pytest.param((9000, 8000), "ks", "chi2", id="many"),
    ],
)
def test_the_number_of_rows_decides(rows: tuple[int, int], number: str, two_values: str):
    found = names(choose(KINDS, rows, engine=SCIPY))

    assert "age" in found[number]
    assert "sex" in found[two_values]


def test_whole_rows_are_judged_where_the_engine_can():
    assert names(choose(KINDS, (1000, 500), engine=ALIBI))["mmd"] == ("age", "income")
    assert names(choose(KINDS, (100_000, 500), engine=ALIBI))["classifier"] == ("age", "income")
    assert set(names(choose({"age": Takes.NUMERIC}, (1000, 500), engine=ALIBI))) == {"ks"}
    assert names(choose({"pixels": Takes.ROWS}, (1000, 500), engine=ALIBI)) == {"mmd": ("pixels",)}


def test_a_name_takes_the_columns_that_suit_it():
    assert names(choose(KINDS, (500, 500), ["chi2", "lsdd", "chi2"])) == {
        "chi2": ("sex", "plan"),
        "lsdd": ("age", "income"),
    }


def test_a_name_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="no detector 'chi'") as caught:
        choose(KINDS, (500, 500), ["chi"])

    assert "chi2" in str(caught.value.hint)


def test_a_name_that_suits_no_column_is_refused():
    with pytest.raises(UsageError, match="fisher takes binary columns"):
        choose({"age": Takes.NUMERIC}, (500, 500), ["fisher"])


def test_an_engine_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no drift engine 'magic'"):
        engine_named("magic")


def test_a_choice_is_made_ready():
    assert made(Choice("ks", ("age",)), Options(engine=SCIPY)).name == "ks"
