"""A model behind an Open Inference Protocol server, over HTTP with JSON: its signature, and answers to rows.

Source: https://github.com/kserve/open-inference-protocol (V2, HTTP/REST). NaN and Infinity travel as those bare tokens.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np

from mlserve.core.dtypes import DType, from_oip
from mlserve.core.tensors import Dim, Signature, TensorSpec
from mlserve.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    MlserveError,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
    UsageError,
)

TIMEOUT_S = 60.0
Arrays = dict[str, np.ndarray[Any, Any]]

_ERRORS: Mapping[int, type[MlserveError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: PayloadTooLarge,
    429: Overloaded,
    501: Unsupported,
    504: DeadlineExceeded,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is served: a server's base URL and, where the URL names them, a model and its version."""

    base: str
    model: str | None
    version: str | None


def parse_url(text: str) -> Address:
    """The address that a URL spells: a server, or its ``/v2/models/NAME[/versions/N][/infer]``. Raises UsageError.

    >>> parse_url("http://127.0.0.1:8000/v2/models/fraud/versions/2/infer")
    Address(base='http://127.0.0.1:8000', model='fraud', version='2')
    """
    parts = urlsplit(text)
    example = "http://127.0.0.1:8000/v2/models/fraud"
    try:
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise UsageError(f"'{text}' is not the URL of a server", hint=f"such as {example}")
    prefix, _, rest = parts.path.partition("/v2")
    base = f"{parts.scheme}://{parts.netloc}{prefix.rstrip('/')}"
    words = [unquote(word) for word in rest.strip("/").split("/") if word]
    if words[-1:] in (["infer"], ["ready"]):
        words.pop()
    match words:
        case []:
            return Address(base, None, None)
        case ["models", model]:
            return Address(base, model, None)
        case ["models", model, "versions", version]:
            return Address(base, model, version)
    raise UsageError(f"'{text}' names no model of a server", hint=f"such as {example}")


class RemoteModel:
    """One model of one server; a connection is kept while it is used. Every error is one of ours."""

    def __init__(self, address: Address, *, key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._headers = authorization(key)
        parts = urlsplit(address.base)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        assert parts.hostname is not None
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._prefix = parts.path
        self._path: str | None = None
        self._is_row_wise: bool | None = None

    @property
    def path(self) -> str:
        """The path of the model on its server, ``/v2/models/NAME``. Raises UsageError where none is named."""
        return self._prefix + self._model_path()

    @property
    def digest(self) -> str | None:
        """The digest of what answers now, where the server says it; mlserve does. Raises as ``signature``."""
        document = self._call("GET", self._model_path())
        said = (document.get("properties") or {}).get("digest") if isinstance(document, dict) else None
        return said if isinstance(said, str) and said else None

    @property
    def extensions(self) -> frozenset[str]:
        """What the server says that it can beyond the protocol, such as "binary_tensor_data". Raises Unavailable."""
        document = self._call("GET", "/v2")
        said = document.get("extensions") if isinstance(document, dict) else None
        return frozenset(name for name in said if isinstance(name, str)) if isinstance(said, list) else frozenset()

    def signature(self) -> Signature:
        """What the model takes and gives, from its metadata. Raises NotFound, Unavailable, InvalidInput."""
        document = self._call("GET", self._model_path())
        try:
            said = (document.get("properties") or {}).get("batchable")
            self._is_row_wise = None if said is None else said == "true"
            return Signature(
                tuple(_spec(fields) for fields in document["inputs"]),
                tuple(_spec(fields) for fields in document["outputs"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"'{self._address.base}' does not speak the Open Inference Protocol") from error

    def is_row_wise(self, signature: Signature) -> bool:
        """Whether rows may go in several requests: as the server says (mlserve does), else as shapes suggest."""
        if self._is_row_wise is not None:
            return self._is_row_wise
        return all(spec.dims and not isinstance(spec.dims[0], int) for spec in (*signature.inputs, *signature.outputs))

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]], specs: Mapping[str, DType]) -> Arrays:
        """The answers to ``inputs`` (arrays by name, of the types in ``specs``), all outputs in the server's order."""
        body = {"inputs": [_tensor(name, array, specs[name]) for name, array in inputs.items()]}
        document = self._call("POST", f"{self._model_path()}/infer", body)
        try:
            return {fields["name"]: array_of(fields) for fields in document["outputs"]}
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"'{self._address.base}' gave an answer that is none: {error}") from error

    def close(self) -> None:
        self._connection.close()

    def _model_path(self) -> str:
        if self._path is None:
            model = self._address.model or self._only_model()
            version = f"/versions/{quote(self._address.version, safe='')}" if self._address.version else ""
            self._path = f"/v2/models/{quote(model, safe='')}{version}"
        return self._path

    def _only_model(self) -> str:
        """The name of the one model that the server has. Raises UsageError where there are several, or none."""
        hint = f"{self._address.base}/v2/models/NAME"
        try:
            listed = self._call("POST", "/v2/repository/index", {"ready": True})
            names = sorted({str(entry["name"]) for entry in listed})
        except (NotFound, Unsupported, InvalidInput, KeyError, TypeError) as error:
            raise UsageError(f"'{self._address.base}' names no model", hint=hint) from error
        if len(names) != 1:
            known = f"it serves {', '.join(names)}" if names else "it serves no model now"
            raise UsageError(f"'{self._address.base}' names no model, and {known}", hint=hint)
        return names[0]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"accept": "application/json"} | self._headers
        if content is not None:
            headers["content-type"] = "application/json"
        try:
            self._connection.request(method, self._prefix + path, content, headers)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unavailable(f"no answer from '{self._address.base}': {reason.lower()}") from error
        try:
            document = json.loads(answer) if answer else None
        except ValueError as error:
            if status < 400:
                raise Unavailable(f"'{self._address.base}{path}' did not answer with JSON") from error
            document = None
        if status >= 400:
            raise _refusal(status, document, f"{self._address.base}{path}")
        return document


def is_url(text: str) -> bool:
    """Whether a target is meant as a URL."""
    return text.startswith(("http://", "https://"))


def read_key(file: Path | None) -> str | None:
    """The API key in ``file``, without the line's end. Raises InvalidInput."""
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{file}' cannot be read") from error


def authorization(key: str | None) -> dict[str, str]:
    """The header, or metadata of gRPC, that an API key goes in; none without a key."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _refusal(status: int, document: Any, url: str) -> MlserveError:
    said = document.get("error") if isinstance(document, dict) else None
    message = said if isinstance(said, str) and said else f"'{url}' answered {status}"
    hint = "--api-key-file FILE" if status == 401 else None
    return _ERRORS.get(status, Unavailable)(message, hint=hint)


def _spec(fields: Mapping[str, Any]) -> TensorSpec:
    dims: tuple[Dim, ...] = tuple(
        ("batch" if axis == 0 else None) if length < 0 else length for axis, length in enumerate(fields["shape"])
    )
    return TensorSpec(str(fields["name"]), from_oip(fields["datatype"]), dims)


def _tensor(name: str, array: np.ndarray[Any, Any], dtype: DType) -> dict[str, Any]:
    return {"name": name, "datatype": dtype.served, "shape": list(array.shape), "data": _values(array)}


def _values(array: np.ndarray[Any, Any]) -> list[Any]:
    plain = array.astype(np.float32) if array.dtype.kind == "V" else array
    values: list[Any] = plain.ravel().tolist()
    return values


def array_of(fields: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """A tensor of an answer in JSON. Raises KeyError, TypeError, ValueError for what is none."""
    dtype = from_oip(fields["datatype"])
    return np.array(fields["data"], dtype=dtype.numpy).reshape(fields["shape"])
