"""From a training framework to production, and honest there: the Python API behind the ``mlserve`` command.

Everything the command does is a function. The names below are imported when they are first used, so that ``import
mlserve`` costs nothing and needs no extra.

    import mlserve

    with mlserve.connect() as app:
        move = mlserve.promote(app.store, mlserve.parse_ref("fraud:2"), mlserve.Stage.PRODUCTION,
                               by=app.user, now=app.clock())
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_API = {
    "ModelRef": "mlserve.core.refs",
    "Stage": "mlserve.core.refs",
    "parse_ref": "mlserve.core.refs",
    "parse_stage": "mlserve.core.refs",
    "Signature": "mlserve.core.tensors",
    "TensorSpec": "mlserve.core.tensors",
    "Evidence": "mlserve.core.evidence",
    "MlserveError": "mlserve.errors",
    "start_project": "mlserve.wiring.starting",
    "connect": "mlserve.wiring.connecting",
    "export_model": "mlserve.export.exporting:export",
    "quantize_model": "mlserve.quantize.quantizing:quantize",
    "register_model": "mlserve.wiring.registering:register_file",
    "get_version": "mlserve.registry.versions",
    "list_models": "mlserve.registry.versions",
    "list_versions": "mlserve.registry.versions",
    "set_tags": "mlserve.registry.versions",
    "archive": "mlserve.registry.versions",
    "unarchive": "mlserve.registry.versions",
    "diff": "mlserve.registry.versions",
    "history": "mlserve.registry.history",
    "stood_at": "mlserve.registry.history",
    "lineage": "mlserve.registry.lineage",
    "evidence_of": "mlserve.registry.evidencing",
    "parse_policy": "mlserve.registry.policies",
    "get_policy": "mlserve.registry.policies",
    "set_policy": "mlserve.registry.policies",
    "promote": "mlserve.registry.promoting",
    "rollback": "mlserve.registry.promoting",
    "withdraw": "mlserve.registry.promoting",
    "load_model": "mlserve.runtime.model",
    "certify": "mlserve.runtime.certificate",
    "predict_rows": "mlserve.wiring.predicting",
    "serve_targets": "mlserve.wiring.serving",
    "bench_target": "mlserve.wiring.benching",
    "tune_target": "mlserve.wiring.tuning",
    "check_everything": "mlserve.wiring.checking",
}

__all__ = ["__version__", *_API]  # noqa: PLE0604 (names from the table above)


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module 'mlserve' has no attribute '{name}'")
    module, _, attribute = _API[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
