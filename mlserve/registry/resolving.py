"""From a ref to the rows it names, on an open connection; what is not there is told with the nearest that is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from mlserve.core.refs import ModelRef, did_you_mean
from mlserve.errors import NotFound
from mlserve.registry.schema import model_versions, models, stages


def model_row(connection: Connection, name: str) -> Row[Any]:
    """The row of the model ``name``. Raises NotFound naming the nearest model."""
    row = connection.execute(select(models).where(models.c.name == name)).first()
    if row is None:
        known = connection.execute(select(models.c.name).order_by(models.c.name)).scalars().all()
        hint = did_you_mean(name, known) or ("mlserve list" if known else f"mlserve register {name} MODEL.onnx")
        raise NotFound(f"no model '{name}'", hint=hint)
    return row


def lock_model(connection: Connection, name: str) -> Row[Any]:
    """As ``model_row``, and no other writer passes this point for the same model until the transaction ends."""
    model_row(connection, name)
    locked = select(models).where(models.c.name == name).with_for_update(key_share=True)
    return connection.execute(locked).one()


def version_row(connection: Connection, ref: ModelRef) -> Row[Any]:
    """The row of ``model_versions`` that ``ref`` names. Raises NotFound."""
    model = model_row(connection, ref.name)
    of_model = select(model_versions).where(model_versions.c.model_id == model.id)
    if ref.holder is None:
        row = connection.execute(of_model.where(model_versions.c.version == ref.version)).first()
        if row is None:
            latest = f"the latest is {model.last_version}"
            raise NotFound(f"no version {ref.version} of '{ref.name}' ({latest})", hint=f"mlserve list {ref.name}")
        return row
    held = of_model.join(stages, stages.c.version_id == model_versions.c.id).where(stages.c.stage == ref.holder.value)
    row = connection.execute(held).first()
    if row is None:
        # A model is made together with its first version, so there is one to promote.
        hint = f"mlserve promote {ref.name}:{model.last_version} --to {ref.holder}"
        raise NotFound(f"no version of '{ref.name}' is in {ref.holder}", hint=hint)
    return row
