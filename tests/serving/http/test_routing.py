"""Paths and methods → what is asked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.serving.http.replies import Reply
from mlserve.serving.http.routing import Action, Route, route_of


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        pytest.param(b"GET", b"/v2", Route(Action.SERVER), id="server"),
        pytest.param(b"GET", b"/v2/", Route(Action.SERVER), id="server with a slash"),
        pytest.param(b"HEAD", b"/v2/health/live", Route(Action.LIVE), id="live"),
        pytest.param(b"GET", b"/v2/health/ready", Route(Action.READY), id="ready"),
        pytest.param(b"GET", b"/v2/models", Route(Action.MODELS), id="models"),
        pytest.param(b"POST", b"/v2/repository/index", Route(Action.INDEX), id="index"),
        pytest.param(b"GET", b"/v2/models/fraud", Route(Action.MODEL, "fraud"), id="model"),
        pytest.param(b"GET", b"/v2/models/fraud/versions/3", Route(Action.MODEL, "fraud", 3), id="version"),
        pytest.param(b"GET", b"/v2/models/fraud/ready", Route(Action.MODEL_READY, "fraud"), id="model ready"),
        pytest.param(b"GET", b"/v2/models/f/versions/3/ready", Route(Action.MODEL_READY, "f", 3), id="version ready"),
        pytest.param(b"POST", b"/v2/models/fraud/infer", Route(Action.INFER, "fraud"), id="infer"),
        pytest.param(b"POST", b"/v2/models/f/versions/12/infer", Route(Action.INFER, "f", 12), id="infer a version"),
        pytest.param(b"POST", b"/v2/models/a%2Fb%20%C3%A4/infer", Route(Action.INFER, "a/b ä"), id="percent-encoded"),
        pytest.param(b"POST", b"/v2/models/fraud/infer?x=/y", Route(Action.INFER, "fraud"), id="a query"),
        pytest.param(b"POST", b"/v2/models/fraud/outcomes", Route(Action.OUTCOMES, "fraud"), id="outcomes"),
        pytest.param(b"GET", b"http://host:80/v2/models", Route(Action.MODELS), id="an absolute URL"),
        pytest.param(b"GET", b"/v2/models/ready", Route(Action.MODEL, "ready"), id="a model called ready"),
    ],
)
def test_a_path_and_a_method_ask_for_one_thing(method: bytes, target: bytes, expected: Route) -> None:
    assert route_of(method, target) == expected


@pytest.mark.parametrize(
    "target",
    [
        b"/", b"", b"*", b"/v1", b"/v2/models/", b"/v2/models//infer", b"/v2/models/f/nix", b"/v2/models/f/infer/x",
        b"/v2/models/f/versions", b"/v2/models/f/versions/x/infer", b"/v2/models/f/versions/-1",
        b"/v2/models/f/versions/" + b"9" * 40, b"/v2/models/%ff/infer", "/v2/models/f/versions/²".encode(), b"a:80",
    ],
)  # fmt: skip
def test_any_other_path_is_not_found(target: bytes) -> None:
    found = route_of(b"POST", target)

    assert isinstance(found, Reply)
    assert (found.status, json.loads(found.body)) == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        pytest.param(b"POST", b"/v2", b"allow: GET, HEAD\r\n", id="POST to a document"),
        pytest.param(b"GET", b"/v2/models/fraud/infer", b"allow: POST\r\n", id="GET of infer"),
        pytest.param(b"OPTIONS", b"/v2/models/fraud", b"allow: GET, HEAD\r\n", id="OPTIONS"),
    ],
)
def test_another_method_is_told_which_are_allowed(method: bytes, target: bytes, allowed: bytes) -> None:
    found = route_of(method, target)

    assert isinstance(found, Reply)
    assert (found.status, json.loads(found.body)) == (405, {"error": "Method Not Allowed"})
    assert found.headers == allowed


@given(
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.binary(max_size=60) | st.binary(max_size=40).map(b"/v2/models/".__add__),
)
def test_any_target_is_a_route_or_a_refusal(method: bytes, target: bytes) -> None:
    assert isinstance(route_of(method, target), Route | Reply)
