"""bench: what it answers, keeps and refuses; how fast anything is, is for ``make bench``."""

from __future__ import annotations

import signal
import socket
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlserve.bench.outcomes import Outcome
from mlserve.bench.runs import Point, run_of
from mlserve.cli.bench import _warnings
from tests.cli.conftest import Done, Run
from tests.models import labelled_classifier, saved, sequence_lengths, strings
from tests.processes import MLSERVE, serving

QUICK = ("--duration", "0.2", "--warmup", "0", "--repeats", "2")
FIGURES = {"concurrency", "rate", "requests", "errors", "rps", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "goodput_rps"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of what ``model`` is too."""
    folder = tmp_path_factory.mktemp("server")
    with serving(MLSERVE, folder, str(saved(labelled_classifier(seed=1), folder / "fraud.onnx"))) as url:
        yield url


def quickly(run: Run, *words: str | Path) -> Done:
    return run("bench", *words, *QUICK)


def test_a_server_is_loaded_by_so_many_clients_each(run: Run, url: str) -> None:
    document = quickly(run, url, "--concurrency", "1,3", "--json").document

    assert [(found["concurrency"], found["rate"]) for found in document["runs"]] == [(1, None), (3, None)]
    for found in document["runs"]:
        assert FIGURES | {"cost_per_million"} <= found.keys()
        assert (found["errors"], found["cost_per_million"], found["slo_met"]) == (0, None, None)
        assert found["requests"] > 0
        assert found["rps"] * 0.2 == pytest.approx(found["requests"], abs=2 * found["concurrency"])
        assert found["goodput_rps"] == pytest.approx(found["rps"])
        assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["p999_ms"]
        low, high = found["rps_interval"]
        assert low <= found["rps"] <= high
    assert document["protocol"] == "json"
    assert document["passed"] is None


def test_the_generator_says_what_it_can_do_itself(run: Run, url: str) -> None:
    document = quickly(run, url, "--concurrency", "4", "--json").document

    assert document["runs"][0]["generator_ceiling_rps"] > 0
    assert document["runs"][0]["generator_cpu_us"] > 0


def test_a_rate_is_an_open_loop_over_so_many_connections(run: Run, url: str) -> None:
    words = (url, "--rate", "50,100", "--concurrency", "4", "--arrivals", "uniform", "--json")

    document = quickly(run, *words).document

    assert [(found["concurrency"], found["rate"]) for found in document["runs"]] == [(4, 50.0), (4, 100.0)]
    assert [found["requests"] for found in document["runs"]] == [10, 20]
    assert document["arrivals"] == "uniform"
    assert all(found["send_lag_p99_ms"] >= 0 for found in document["runs"])


def test_binary_tensors_and_several_generators_and_rows_work_the_same(run: Run, url: str) -> None:
    words = (url, "--protocol", "binary", "--rows", "4", "--generators", "2", "--concurrency", "4", "--json")

    document = quickly(run, *words).document

    (found,) = document["runs"]
    assert (document["protocol"], document["rows"], found["errors"]) == ("binary", 4, 0)
    assert found["rows_per_s"] == pytest.approx(4 * found["rps"])


def test_grpc_is_spoken_with_the_server_s_other_port(run: Run, model: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"grpc://127.0.0.1:{port}"

    with serving(MLSERVE, tmp_path, str(model), "--grpc-port", str(port)):
        closed = quickly(run, f"{url}/fraud", "--concurrency", "1,4", "--rows", "2", "--json").document
        open_ = quickly(run, f"{url}/fraud/1", "--rate", "50", "--arrivals", "uniform", "--json").document
        missing = quickly(run, f"{url}/nope", "--json")

    assert (closed["protocol"], closed["rows"]) == ("grpc", 2)
    assert [one["errors"] for one in (*closed["runs"], *open_["runs"])] == [0, 0, 0]
    assert all(one["requests"] > 0 and one["generator_ceiling_rps"] > 0 for one in closed["runs"])
    assert open_["runs"][0]["requests"] == 10
    assert missing.error["code"] == 4


def test_a_file_is_run_in_this_process(run: Run, model: Path) -> None:
    document = quickly(run, model, "--concurrency", "1,8", "--json").document

    assert document["protocol"] == "in process"
    assert [found["errors"] for found in document["runs"]] == [0, 0]
    assert all(found["requests"] > 0 for found in document["runs"])


def test_an_open_loop_in_this_process_asks_what_is_due(run: Run, model: Path) -> None:
    document = quickly(run, model, "--rate", "100", "--arrivals", "uniform", "--json").document

    assert document["runs"][0]["requests"] == 20
    assert document["runs"][0]["errors"] == 0


def test_rows_of_a_file_are_asked_with(run: Run, url: str, model: Path, rows: Path) -> None:
    by_url = quickly(run, url, "--input", rows, "--concurrency", "2", "--json").document
    in_process = quickly(run, model, "--input", rows, "--concurrency", "2", "--json").document

    assert by_url["data_digest"] == in_process["data_digest"] is not None
    assert by_url["runs"][0]["errors"] == in_process["runs"][0]["errors"] == 0


@pytest.mark.parametrize("make", [strings, sequence_lengths], ids=["strings", "sequences"])
def test_other_models_are_loaded_too(run: Run, clean_environment: Path, make: Callable[[], Any]) -> None:
    path = saved(make(), clean_environment / "m.onnx")

    with serving(MLSERVE, clean_environment, str(path)) as url:
        found = [
            quickly(run, target, *words, "--concurrency", "2", "--json").document["runs"][0]
            for target, words in ((url, ()), (url, ("--protocol", "binary")), (path, ()))
        ]

    assert [one["errors"] for one in found] == [0, 0, 0]
    assert all(one["requests"] > 0 for one in found)


def test_a_service_level_that_is_missed_is_exit_7_and_still_an_answer(run: Run, url: str) -> None:
    met = quickly(run, url, "--concurrency", "1", "--slo", "p50=60s", "--json")
    missed = quickly(run, url, "--concurrency", "1", "--slo", "p50=1us", "--json")
    for_people = quickly(run, url, "--concurrency", "1", "--slo", "p50=1us")

    assert (met.code, met.document["passed"], met.document["runs"][0]["slo_met"]) == (0, True, True)
    assert met.document["runs"][0]["goodput_rps"] == pytest.approx(met.document["runs"][0]["rps"])
    assert (missed.code, missed.document["passed"], missed.document["runs"][0]["slo_met"]) == (7, False, False)
    assert missed.document["runs"][0]["goodput_rps"] == 0
    assert for_people.code == 7
    assert "p50=1us is missed at 1 client" in for_people.out


def test_a_million_predictions_cost_their_time(run: Run, model: Path) -> None:
    found = quickly(run, model, "--concurrency", "1", "--price-per-hour", "3.6", "--json").document["runs"][0]

    assert found["cost_per_million"] == pytest.approx(3.6 / 3600 / found["rps"] * 1e6)


def test_people_get_a_table_and_pipes_get_no_picture(run: Run, model: Path) -> None:
    done = quickly(run, model, "--concurrency", "1")

    assert done.out.startswith("LOAD      REQUESTS  ERRORS  PER S")
    assert "1 client" in done.out
    assert "│" not in done.out


def test_figures_that_are_not_to_be_taken_as_they_stand_are_warned_of() -> None:
    outcome = Outcome(1.0, failures=Counter({"status 429": 3}))
    for _ in range(80):
        outcome.latencies.add(1e-3)

    bound = list(_warnings([run_of(Point(8), [outcome], rows=1, slo=None, price_per_hour=None, ceiling_rps=100.0)]))
    free = list(_warnings([run_of(Point(8), [Outcome(1.0)], rows=1, slo=None, price_per_hour=None, ceiling_rps=100.0)]))

    assert bound == [
        "at 8 clients the generator reached 80% of its own ceiling (100 requests/s): "
        "the server may be faster than this",
        "at 8 clients 3 requests were not answered rightly: status 429 × 3",
    ]
    assert free == []


class WellFormed(HTMLParser):
    """Knows which elements are open, and what is fetched from elsewhere."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.fetched += [value for name, value in attributes if name in ("src", "href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_well_formed_file(run: Run, model: Path, clean_environment: Path) -> None:
    file = clean_environment / "bench.html"
    done = quickly(run, model, "--concurrency", "1,4", "--slo", "p99=10s", "--report", file, "--quiet")
    page = file.read_text(encoding="utf-8")
    parser = WellFormed()
    parser.feed(page)

    assert done.out == f"{file}\n"
    assert (parser.open, parser.fetched) == ([], [])
    assert "<script" not in page
    assert "4 clients" in page
    assert "p99=10s met" in page
    pictures = [ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>") for part in page.split("<svg")[1:]]
    assert len(pictures) == 2
    assert len(pictures[0].findall("polyline")) == 2


def test_figures_are_kept_as_evidence_of_the_version(run: Run, fraud: Path) -> None:
    done = quickly(run, "fraud:1", "--concurrency", "2", "--slo", "p99=10s", "--record", "--json")

    (evidence,) = [one for one in run("show", "fraud:1", "--json").document["evidence"] if one["kind"] == "bench"]
    assert done.document["recorded"] is True
    assert done.document["digest"] == run("show", "fraud:1", "--json").document["digest"]
    assert (evidence["passed"], evidence["origin"]) == (True, "measured")
    assert evidence["figures"]["c2"]["p99_ms"] == done.document["runs"][0]["p99_ms"]
    run("show", "fraud:1", "--report", fraud / "card.html")
    assert "<td>2 clients</td>" in (fraud / "card.html").read_text(encoding="utf-8")


def test_rates_have_names_that_a_gate_can_spell(run: Run, fraud: Path) -> None:
    quickly(run, "fraud:1", "--rate", "20,62.5", "--record")
    quickly(run, "fraud:2", "--rate", "20", "--concurrency", "1,2", "--record")

    kept = [
        {name for one in run("show", ref, "--json").document["evidence"] for name in one["figures"] if name[0] == "r"}
        for ref in ("fraud:1", "fraud:2")
    ]
    assert {"r20", "r62_5"} <= kept[0]
    assert {"r20c1", "r20c2"} <= kept[1]


def test_a_server_s_figures_are_kept_for_what_answered(run: Run, fraud: Path) -> None:
    run("promote", "fraud:2", "--to", "production")

    with serving(MLSERVE, fraud, "fraud") as url:
        done = quickly(run, f"{url}/v2/models/fraud", "--concurrency", "2", "--record", "--json")

    kinds = [one["kind"] for one in run("show", "fraud:2", "--json").document["evidence"]]
    assert done.document["digest"] == run("show", "fraud:2", "--json").document["digest"]
    assert "bench" in kinds


def test_a_service_level_that_was_missed_is_kept_as_that(run: Run, fraud: Path) -> None:
    quickly(run, "fraud:1", "--concurrency", "2", "--slo", "p99=1us", "--record")

    evidence = [one for one in run("show", "fraud:1", "--json").document["evidence"] if one["kind"] == "bench"]

    assert [one["passed"] for one in evidence] == [False]


def test_ctrl_c_ends_it_with_130_and_writes_nothing(model: Path, clean_environment: Path) -> None:
    words = ("bench", str(model), "--duration", "60", "--warmup", "0", "--report", "bench.html")
    with subprocess.Popen([*MLSERVE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first step has begun
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert [path.name for path in clean_environment.iterdir()] == [model.name]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["fraud.onnx", "--slo", "fast"], 2, "not a percentile and a time", id="no level"),
        pytest.param(["fraud.onnx", "--concurrency", "0"], 2, "--concurrency '0'", id="no clients"),
        pytest.param(["fraud.onnx", "--concurrency", "1.5"], 2, "--concurrency '1.5'", id="half a client"),
        pytest.param(["fraud.onnx", "--rate", "fast"], 2, "--rate 'fast'", id="no rate"),
        pytest.param(["fraud.onnx", "--record"], 2, "no version of a registry", id="nothing to record for"),
        pytest.param(["fraud.onnx", "--protocol", "json"], 2, "--protocol json needs a server", id="no server"),
        pytest.param(
            ["http://127.0.0.1:1", "--protocol", "grpc"], 2, "no address of a gRPC server", id="HTTP for gRPC"
        ),
        pytest.param(["grpc://127.0.0.1:1"], 2, "not the address of a model", id="no model"),
        pytest.param(["grpc://127.0.0.1:1/m", "--protocol", "json"], 2, "asked over gRPC", id="gRPC for HTTP"),
        pytest.param(["grpc://127.0.0.1:1/m"], 8, "UNAVAILABLE", id="nobody at gRPC"),
        pytest.param(["http://127.0.0.1:1/v2/models/m"], 8, "no answer from", id="nobody at HTTP"),
        pytest.param(["https://127.0.0.1:1/v2/models/m"], 8, "no answer from", id="nobody at HTTPS"),
        pytest.param(["fraud.onnx", "--report", "no/such.html"], 9, "no such folder", id="no folder for the report"),
        pytest.param(["none.onnx"], 4, "none.onnx", id="no file"),
        pytest.param(["fraud.onnx", "--input", "none.npz"], 4, "none.npz", id="no rows"),
    ],
)
def test_what_cannot_be_loaded_is_said(run: Run, model: Path, words: list[str], code: int, said: str) -> None:
    done = run("bench", *words, *QUICK, "--json")

    assert done.error["code"] == code
    assert said in done.error["message"]


def test_made_up_rows_that_a_model_refuses_call_for_real_ones(run: Run, clean_environment: Path) -> None:
    path = saved(table_of_two(), clean_environment / "table.onnx")
    np.savez(clean_environment / "ids.npz", ids=np.array([0, 1]))

    made_up = quickly(run, path, "--json")
    real = quickly(run, path, "--input", "ids.npz", "--concurrency", "2", "--json")

    assert made_up.error["code"] == 9
    assert "rows made up for it are refused" in made_up.error["message"]
    assert made_up.error["hint"] == "--input DATA"
    assert real.document["runs"][0]["errors"] == 0


def table_of_two() -> onnx.ModelProto:
    """Looks an id up in a table that has two: what is made up is out of its range."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        "table",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.array([[1.0], [2.0]], np.float32), "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
