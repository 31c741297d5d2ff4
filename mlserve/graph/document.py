"""Reading, checking and writing an ONNX model as a document."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import onnx
from google.protobuf.message import DecodeError, EncodeError

from mlserve.core.files import replacing
from mlserve.errors import InvalidInput, NotFound
from mlserve.graph.external import Place, external_files, external_tensors, load_weights, point_to
from mlserve.graph.walking import tensors

MAX_IR = 13
MAX_OPSET = 26
"""The newest ONNX that ONNX Runtime 1.31 loads; it refuses anything above, whatever the graph uses."""

MAX_ONE_FILE_BYTES = 1_500_000_000
"""Above this the weights go to a file of their own; protobuf ends at 2 GiB."""

_PROTOBUF_LIMIT_BYTES = 2**31 - 1
_SMALL_BYTES = 1024
_AGAIN = "export the model again, or copy the file again"


def load_graph(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """The model at ``path``; with ``weights=False`` external tensors keep naming their files, which are not opened.

    Raises NotFound, and InvalidInput for a file that is cut short or not ONNX, or whose weights are missing, cut short,
    or outside the model's folder.
    """
    model = _parse(path, _read(path))
    if weights:
        load_weights(model, path.parent)
    return model


def check_graph(model: onnx.ModelProto | Path) -> None:
    """Let a model pass that is valid ONNX and not newer than the runtime loads; kernels are not asked for.

    A path has its external weights checked too. Raises NotFound, InvalidInput saying what to do.
    """
    if isinstance(model, Path):
        document = load_graph(model, weights=False)
        external_files(document, model.parent)
        check_graph(document)
        return
    _check_versions(model)
    try:
        onnx.checker.check_model(_without_weights(model))
    except onnx.checker.ValidationError as error:
        fact = " ".join(str(error).split("\n\n==>")[0].split())
        raise InvalidInput(f"not valid ONNX: {fact}") from error


def save_graph(model: onnx.ModelProto, path: Path, *, max_one_file_bytes: int = MAX_ONE_FILE_BYTES) -> None:
    """Write ``model`` to ``path``: whole or not at all, the same bytes for the same model.

    A model with more bytes of weights than ``max_one_file_bytes`` becomes two files, ``NAME`` and ``NAME.data``.
    Tensors that were never loaded keep naming their files, which must lie beside ``path``. ``model`` itself is left
    as it was. Raises InvalidInput when the folder cannot be written, or those files are not there.
    """
    external_files(model, path.parent)
    large = [tensor for tensor in tensors(model) if len(tensor.raw_data) >= _SMALL_BYTES]
    if sum(len(tensor.raw_data) for tensor in large) <= max_one_file_bytes:
        _write(model, path)
        return
    held = [tensor.raw_data for tensor in large]
    try:
        _write_weights(large, path)
        _write(model, path)
    finally:
        for tensor, content in zip(large, held, strict=True):
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = content


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if path.is_file() and size > _PROTOBUF_LIMIT_BYTES:
            raise InvalidInput(
                f"'{path}' has {size} bytes, and one ONNX file holds at most {_PROTOBUF_LIMIT_BYTES}",
                hint="save the model with its weights in a file beside it (external data)",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"no file '{path}'") from error
    except OSError as error:
        raise InvalidInput(f"cannot read '{path}': {error.strerror}") from error


def _parse(path: Path, content: bytes) -> onnx.ModelProto:
    if not content:
        raise InvalidInput(f"'{path}' is empty", hint=_AGAIN)
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise InvalidInput(f"'{path}' is cut short or not an ONNX file", hint=_AGAIN) from error
    # Protobuf reads many a text as fields it does not know, and a file cut between two fields as a smaller message.
    if not model.HasField("graph") or model.ir_version < 1 or (model.ir_version >= 3 and not model.opset_import):
        raise InvalidInput(f"'{path}' is cut short or not an ONNX file", hint=_AGAIN)
    return cast(onnx.ModelProto, model)


def _check_versions(model: onnx.ModelProto) -> None:
    hint = "mlserve export MODEL.onnx -o OUT.onnx writes an older IR; for the opset, export again with --opset 20"
    if model.ir_version > MAX_IR:
        raise InvalidInput(f"the model has ONNX IR {model.ir_version}, the runtime loads up to {MAX_IR}", hint=hint)
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > MAX_OPSET:
            raise InvalidInput(f"the model has opset {opset.version}, the runtime loads up to {MAX_OPSET}", hint=hint)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with large and external tensors emptied: the checker would copy the former and look for the latter's files
    in the working directory."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in [t for t in tensors(copy) if len(t.raw_data) >= _SMALL_BYTES]:
        _empty(tensor)
    for tensor in list(external_tensors(copy)):
        _empty(tensor)
    return copy


def _empty(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.ClearField("data_location")
    del tensor.external_data[:]
    tensor.dims[:] = [0]


def _write(model: onnx.ModelProto, path: Path) -> None:
    try:
        content = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise InvalidInput(f"cannot write '{path}': the graph without its weights is above 2 GiB") from error
    with replacing(path) as partial:
        partial.write_bytes(content)


def _write_weights(large: list[onnx.TensorProto], path: Path) -> None:
    """Move the bytes of ``large`` to the file beside ``path``, each tensor then naming its place."""
    data = path.with_name(path.name + ".data")
    with replacing(data) as partial:
        with partial.open("wb") as file:
            for tensor in large:
                offset = file.tell()
                length = file.write(tensor.raw_data)
                point_to(tensor, Place(data.name, offset, length))
        # Two renames are not one: without this a crash between them would leave an older graph with these weights.
        path.unlink(missing_ok=True)
