"""``mlserve conform``: the conformance suite put to a server, and what was found as a document, a page, or JUnit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlserve.core.dtypes import from_oip
from mlserve.core.files import replacing
from mlserve.core.progress import Progress, silent
from mlserve.errors import InvalidInput, MlserveError, NotFound, UsageError
from mlserve.wiring.remote import authorization, parse_url, read_key

if TYPE_CHECKING:
    from mlserve.bench.conformance.running import Conformance
    from mlserve.bench.conformance.tensors import Tensor
    from mlserve.bench.conformance.verdicts import Rule


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look at, and how to get in.

    ``request`` is a file with an inference request that the model takes, for one that refuses made-up rows; ``only``
    are patterns of rules' names or subjects.
    """

    models: Sequence[str] = ()
    grpc: str | None = None
    request: Path | None = None
    only: Sequence[str] = ()
    may_change: bool = False
    api_key_file: Path | None = None
    ca_file: Path | None = None


def conform_server(url: str, asked: Asked, progress: Progress = silent) -> Conformance:
    """Put the rules to the server at ``url``.

    Raises UsageError, Unavailable where no server answers, Unauthenticated, NotFound for a model that is not there, and
    InvalidInput for what does not speak the protocol at all.
    """
    from mlserve.bench.conformance.calls import GrpcPort
    from mlserve.bench.conformance.exchange import HttpPort
    from mlserve.bench.conformance.probe import discovered
    from mlserve.bench.conformance.running import run_rules

    address = parse_url(url)
    models = list(asked.models) or ([address.model] if address.model else [])
    rules = _chosen(asked.only)
    if asked.request is not None and len(models) != 1:
        raise UsageError("a request is of one model", hint="--model NAME --request FILE")
    given = _given(asked.request) if asked.request is not None else []
    key = read_key(asked.api_key_file)
    ca_file = str(asked.ca_file) if asked.ca_file is not None else None
    http = HttpPort(address.base, authorization(key), ca_file)
    grpc = GrpcPort(asked.grpc, list(authorization(key).items()), ca_file) if asked.grpc is not None else None
    try:
        probe = discovered(http, grpc, models, given)
        return run_rules(probe, rules, may_change=asked.may_change, progress=progress)
    finally:
        if grpc is not None:
            grpc.close()


def write_page(found: Conformance, file: Path) -> None:
    """Write what was found as one HTML page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.report.conform import render_conformance

    page = render_conformance(found.to_dict())
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def write_junit(found: Conformance, file: Path) -> None:
    """Write what was found as JUnit XML. Raises InvalidInput."""
    from mlserve.report.junit import JunitCase, render_junit

    cases = [
        JunitCase(
            f"conform.{one.rule.subject}",
            one.rule.name,
            one.outcome.value,
            f"{one.rule.sentence}: {one.detail}" if one.outcome.value == "failed" else one.detail,
            one.ms / 1e3,
        )
        for one in found.verdicts
    ]
    document = render_junit(f"mlserve conform {found.url}", cases)
    with replacing(file) as partial:
        partial.write_bytes(document)


def _chosen(patterns: Sequence[str]) -> list[Rule]:
    """The rules whose names or subjects fit one of ``patterns``, all without. Raises NotFound."""
    from mlserve.bench.conformance.rules import ALL

    if not patterns:
        return list(ALL)
    for pattern in patterns:
        if not any(_fits(rule, pattern) for rule in ALL):
            subjects = ", ".join(dict.fromkeys(rule.subject for rule in ALL))
            raise NotFound(f"no rule is called '{pattern}'", hint=f"subjects: {subjects}")
    return [rule for rule in ALL if any(_fits(rule, pattern) for pattern in patterns)]


def _fits(rule: Rule, pattern: str) -> bool:
    return fnmatchcase(rule.name, pattern) or rule.subject == pattern


def _given(file: Path) -> list[Tensor]:
    """The inputs of the request in ``file``. Raises InvalidInput."""
    from mlserve.bench.conformance.tensors import Tensor

    try:
        document: Any = msgspec.json.decode(file.read_bytes())
        return [
            Tensor(fields["name"], fields["datatype"], _values(fields["datatype"], fields["data"], fields["shape"]))
            for fields in document["inputs"]
        ]
    except OSError as error:
        raise InvalidInput(f"'{file}' cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, MlserveError) as error:
        raise InvalidInput(f"'{file}' is no inference request in JSON: {error}") from error


def _values(datatype: str, data: Any, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    dtype = from_oip(datatype)
    if datatype == "BYTES":
        return np.array([text.encode() for text in np.asarray(data, dtype=object).reshape(-1)], object).reshape(shape)
    return np.asarray(data).astype(dtype.numpy).reshape(shape)
