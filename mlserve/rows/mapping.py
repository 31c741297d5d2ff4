"""Which column of a file is which input of a model, which is a role, and which nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from mlserve.core.dtypes import DType
from mlserve.core.refs import did_you_mean
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns that are never fed to a model: ground truth, query or group id, unit key, event time."""

    label: str = "label"
    group: str = "group"
    key: str = "key"
    time: str = "time"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where inputs and roles are: ``inputs`` by name, each a column, or the one input ``features_of`` in many columns.

    ``roles`` maps those of ``label``, ``group``, ``key`` and ``time`` that the file has to their columns.
    """

    inputs: tuple[str, ...]
    features_of: TensorSpec | None
    features: tuple[str, ...]
    roles: dict[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.inputs, *self.features, *self.roles.values())


Form = Literal["inputs", "inputs or features"]


def map_columns(
    columns: Sequence[str],
    signature: Signature,
    roles: Roles,
    *,
    form: Form,
    ignore_extra: bool,
    numeric: Collection[str],
    where: str,
) -> Mapping:
    """The mapping of a file's ``columns``, in order, to what ``signature`` takes.

    A column per input; or, where ``form`` allows and the model has one 2-D numeric input that no column is named after,
    a column per feature in order. A model knows no names of features, so there ``ignore_extra`` can leave out only what
    is not among the ``numeric`` columns. Raises InvalidInput, naming ``where``, for an input without a column, for a
    column that is neither input nor role unless ``ignore_extra``, and for another number of features than the model's.
    """
    present = _present_roles(columns, roles, where)
    rest = [name for name in columns if name not in present.values()]
    inputs = tuple(spec.name for spec in signature.inputs)
    missing = [name for name in inputs if name not in rest]
    if missing and form == "inputs or features" and (only := _spreadable(signature)) is not None:
        known = [name for name in rest if name in numeric] if ignore_extra else rest
        return Mapping((), only, _features(known, only, where), present)
    if missing:
        raise InvalidInput(f"{where} has no column for input '{missing[0]}'", hint=_hint(missing[0], rest, roles))
    extra = [name for name in rest if name not in inputs]
    if extra and not ignore_extra:
        raise InvalidInput(
            f"{where} has column '{extra[0]}', which the model does not take",
            hint=did_you_mean(extra[0], columns_of(roles)) or "--ignore-extra leaves unknown columns out",
        )
    return Mapping(inputs, None, (), present)


def columns_of(roles: Roles) -> list[str]:
    """The names of the columns that play a role."""
    return [getattr(roles, field.name) for field in fields(roles)]


def _present_roles(columns: Sequence[str], roles: Roles, where: str) -> dict[str, str]:
    present = {}
    for field in fields(roles):
        column = getattr(roles, field.name)
        if column in columns:
            present[field.name] = column
        elif column != field.default:
            raise InvalidInput(
                f"{where} has no column '{column}' for the {field.name}", hint=did_you_mean(column, columns)
            )
    return present


def _spreadable(signature: Signature) -> TensorSpec | None:
    """The one input whose features may be columns."""
    if len(signature.inputs) != 1:
        return None
    (spec,) = signature.inputs
    return spec if len(spec.dims) == 2 and spec.dtype is not DType.STRING else None


def _features(rest: Sequence[str], spec: TensorSpec, where: str) -> tuple[str, ...]:
    wanted = spec.dims[1]
    if not rest or (isinstance(wanted, int) and len(rest) != wanted):
        takes = f"{wanted} features" if isinstance(wanted, int) else "at least one feature"
        raise InvalidInput(
            f"{where} has {len(rest)} columns besides labels and keys, the model's input '{spec.name}' takes {takes}",
            hint=f"one column a feature in order, or one column '{spec.name}' holding lists",
        )
    return tuple(rest)


def _hint(missing: str, rest: Sequence[str], roles: Roles) -> str | None:
    for field in fields(roles):
        if getattr(roles, field.name) == missing:
            return f"'{missing}' is read as the {field.name}; --{field.name} NAME gives that role to another column"
    return did_you_mean(missing, rest)
