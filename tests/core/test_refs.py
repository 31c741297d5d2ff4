"""How people name versions."""

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.refs import MAX_NAME_CHARS, ModelRef, Stage, did_you_mean, parse_name, parse_ref, parse_stage
from mlserve.errors import UsageError

ALNUM = string.ascii_letters + string.digits
names = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from(ALNUM),
    st.text(st.sampled_from(ALNUM + "._-"), max_size=MAX_NAME_CHARS - 1),
)
refs = st.one_of(
    st.builds(ModelRef, names),
    st.builds(ModelRef, names, st.integers(1, 10**18 - 1)),
    st.builds(ModelRef, names, st.none(), st.sampled_from(Stage)),
)


@given(refs)
def test_a_printed_ref_is_read_back_as_itself(ref: ModelRef):
    assert parse_ref(str(ref)) == ref


@given(st.text())
def test_any_text_is_a_ref_that_prints_as_that_text_or_a_usage_error(text: str):
    with suppress(UsageError):
        assert str(parse_ref(text)) == text


@given(names)
def test_every_valid_name_is_kept_as_it_is(name: str):
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("-fraud", id="leading dash"),
        pytest.param(".fraud", id="hidden file"),
        pytest.param("../fraud", id="path"),
        pytest.param("fraud\n", id="trailing newline"),
        pytest.param("frãud", id="not ASCII"),
        pytest.param("a" * (MAX_NAME_CHARS + 1), id="too long"),
    ],
)
def test_a_name_that_could_hurt_elsewhere_is_refused(text: str):
    with pytest.raises(UsageError, match="is not a model name"):
        parse_name(text)


@pytest.mark.parametrize(
    "text", ["fraud:", "fraud:0", "fraud:07", "fraud:-1", "fraud:1@shadow", "fraud:1e3", "fraud:١"]
)
def test_a_version_is_a_positive_number_without_ornaments(text: str):
    with pytest.raises(UsageError, match="is not a model ref"):
        parse_ref(text)


def test_a_plain_name_means_production():
    assert parse_ref("fraud").holder is Stage.PRODUCTION


def test_a_numbered_version_needs_no_stage():
    assert parse_ref("fraud:7").holder is None


def test_a_misspelt_stage_names_the_nearest():
    with pytest.raises(UsageError, match="'prodution' is not a stage") as caught:
        parse_ref("fraud@prodution")

    assert caught.value.hint == "did you mean 'production'?"


def test_an_unheard_of_stage_names_all():
    with pytest.raises(UsageError) as caught:
        parse_stage("qqq")

    assert caught.value.hint == "one of staging, shadow, challenger, production"


def test_a_ref_cannot_name_version_and_stage_at_once():
    with pytest.raises(UsageError, match="at once"):
        ModelRef("fraud", 1, Stage.SHADOW)


def test_nothing_near_means_no_hint():
    assert did_you_mean("zebra", ["fraud", "churn"]) is None
