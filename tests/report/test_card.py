"""The card of a version, as a browser would get it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from mlserve.report.card import render_card
from mlserve.report.charts import Bar, bars, interval
from mlserve.report.figures import number, proofs, size, tensor

CARD: dict[str, Any] = {
    "ref": "fraud:2",
    "digest": "sha256:" + "ab" * 32,
    "files": [{"path": "model.onnx", "digest": "sha256:" + "cd" * 32, "size_bytes": 165_882}],
    "signature": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 30], "dims": ["batch", 30]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1], "dims": [None]}],
    },
    "metrics": {"accuracy": 0.98765},
    "params": {"seed": "0"},
    "tags": {"team": "risk"},
    "stages": ["production"],
    "state": "ready",
    "parent": "fraud:1",
    "commit": "0123abc",
    "dirty": True,
    "note": "better",
    "created_at": "2026-01-02T00:00:00Z",
    "evidence": [
        {
            "kind": "parity",
            "passed": True,
            "figures": {
                "rows": 285,
                "checks": [
                    {"name": "sample", "rows": 285, "rows_over": 0, "max_abs": 1e-8, "passed": True},
                    {"name": "odd", "rows": 1, "rows_over": 1, "max_abs": 1.0, "passed": False, "is_required": False},
                    {"name": "bad", "rows": 1, "rows_over": 1, "max_abs": 1.0, "passed": False, "is_required": True},
                ],
            },
            "origin": "imported",
        },
        {
            "kind": "accuracy",
            "passed": False,
            "figures": {"drop": 0.02, "drop_low": 0.01, "drop_high": 0.03, "max_drop": 0.01},
        },
        {
            "kind": "quantization",
            "passed": None,
            "figures": {"latency": [{"rows": 1, "before_ms": 2.0, "after_ms": 1.0}, {"rows": 32}]},
        },
    ],
    "history": [{"action": "promote", "stage": "production", "ref": "fraud:2", "by": "me", "at": "2026-01-02"}],
}


class Page(HTMLParser):
    """Checks that tags close in order and collects what matters."""

    VOID = frozenset({"meta", "line", "rect", "circle", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []
        self.urls: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_a_card_holds_what_is_known_of_the_version() -> None:
    page = Page(render_card(CARD))

    assert {"fraud:2", "production", "0.9877", "FP32 [batch, 30]", "INT64 [?]", "165.9 kB"} <= set(page.text)
    assert {"parity", "passed", "accuracy", "failed", "quantization", "measured", "differs"} <= set(page.text)
    assert page.seen.count("svg") == 2


def test_a_card_needs_nothing_from_elsewhere() -> None:
    page = Page(render_card(CARD))

    assert page.urls == []
    assert "script" not in page.seen


@pytest.mark.parametrize("key", list(CARD))
def test_whatever_is_missing_is_left_out(key: str) -> None:
    Page(render_card({name: value for name, value in CARD.items() if name != key}))


def test_an_empty_card_is_a_page() -> None:
    assert "model" in Page(render_card({})).text


@pytest.mark.parametrize("place", ["note", "ref", "digest"])
def test_text_is_escaped(place: str) -> None:
    page = render_card(CARD | {place: "<script>alert(1)</script>"})

    assert "<script" not in page


def test_text_in_pictures_and_figures_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    latency = [{"rows": 1, "before_ms": 1.0, "after_ms": 1.0}]
    item = {"kind": evil, "figures": {evil: evil, "latency": latency}, "measured_by": evil}

    assert "<script" not in render_card({"evidence": [item], "tags": {evil: evil}, "metrics": {evil: 1.0}})
    assert "<script" not in bars([Bar(evil, 1.0, evil)], evil)


def test_bars_of_nothing_are_an_empty_picture() -> None:
    assert "<rect" not in bars([], "nothing")


def test_a_bar_below_zero_has_no_length() -> None:
    assert 'width="0.0"' in bars([Bar("a", -1.0, "-1"), Bar("b", 1.0, "1")], "t")


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0, 0.0), (-1.0, 5.0, 2.0, 0.01), (1e-9, 1e-8, 5e-9, 1e9)])
def test_an_interval_stays_within_its_picture(values: tuple[float, float, float, float]) -> None:
    import re

    picture = interval(*values, "fall")

    places = [float(x) for x in re.findall(r'(?:x|cx|x1|x2)="([-\d.]+)"', picture)]
    assert all(0 <= place <= 520 for place in places)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.98765, "0.9877"), (12345, "12 345"), (True, "yes"), (False, "no"), (None, "–"), ("a", "a")]
)
def test_values_are_shortened_for_people(value: Any, shown: str) -> None:
    assert number(value) == shown


def test_sizes_have_the_unit_that_fits() -> None:
    assert [size(value) for value in (900, 165_882, 2_500_000, 2_500_000_000)] == [
        "900 B",
        "165.9 kB",
        "2.5 MB",
        "2.5 GB",
    ]


def test_a_tensor_without_names_shows_its_shape() -> None:
    assert tensor({"datatype": "FP32", "shape": [-1, 3]}) == "FP32 [-1, 3]"


def test_long_texts_and_nested_figures_are_left_to_the_document() -> None:
    (proof,) = proofs([{"kind": "load", "passed": True, "figures": {"long": "x" * 200, "nested": {}, "ms": 1.5}}])

    assert proof.figures == [("ms", "1.5")]


def test_without_the_templating_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from mlserve.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(MissingExtra) as caught:
        render_card(CARD)

    assert caught.value.hint == "pip install 'mlserve[report]'"
