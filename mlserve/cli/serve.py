"""``mlserve serve``: the inference server."""

import signal
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mlserve.cli.completing import complete_name
from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output
from mlserve.core.settings import Device


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|MODEL.onnx",
            help="Models of the registry (none: every one) and files, served under their stem.",
            autocompletion=complete_name,
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; default 8000, 0 is any free one."),
    ] = None,
    grpc_port: Annotated[
        str | None, typer.Option(metavar="PORT|off", help="Port for gRPC; default 8001, 0 is any free one.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where models run; default auto.")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that answer on the same ports; default 1.")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows that one run takes at most.")] = None,
    max_delay_ms: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="How long a batch waits for more rows; default 0.")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Runs at a time; default as tuned, else one a core.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of each run; default as tuned, else 1.")
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(metavar="PXX=TIME", help="Latency objective such as p99=20ms; what would miss it is refused."),
    ] = None,
    capture: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep what is asked and answered in this folder; see `traffic`.")
    ] = None,
    capture_all_outputs: Annotated[
        bool, typer.Option("--capture-all-outputs", help="Keep outputs too that a request did not ask for.")
    ] = False,
    tls_cert: Annotated[str | None, typer.Option(metavar="FILE", help="The server's certificate, PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="The certificate's key, PEM.")] = None,
    tls_ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only clients with a certificate of this authority, PEM.")
    ] = None,
    api_keys: Annotated[
        str | None, typer.Option(metavar="FILE", help="Only clients with a key of this file; see `keys add`.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Serve models over HTTP and gRPC, following the registry.

    A model of the registry is swapped, with no failed request, when another version is promoted.
    """
    from mlserve.wiring.serving import serve_targets

    out = Output.for_flags(json=as_json, quiet=quiet)
    flags = {
        "serve.host": host,
        "serve.port": port,
        "serve.grpc_port": _checked_port(grpc_port),
        "serve.device": device,
        "serve.workers": workers,
        "serve.max_batch": max_batch,
        "serve.max_delay_ms": max_delay_ms,
        "serve.lanes": lanes,
        "serve.threads": threads,
        "serve.slo": slo,
        "serve.capture": capture,
        "serve.capture_all_outputs": capture_all_outputs or None,
        "serve.tls_cert": tls_cert,
        "serve.tls_key": tls_key,
        "serve.tls_ca": tls_ca,
        "serve.api_keys": api_keys,
        "registry": registry,
    }
    ended = serve_targets(
        targets or [],
        flags=flags,
        config_file=config,
        emit=lambda event: out.event(_sentence(event), event, made=event.get("http")),
        warn=out.warn,
    )
    if ended == signal.SIGINT:
        raise KeyboardInterrupt


def _checked_port(text: str | None) -> str | None:
    """Whatever ``--grpc-port`` may be. Raises BadParameter."""
    if text is None or text == "off" or (text.isdecimal() and int(text) <= 65535):
        return text
    raise typer.BadParameter(f"'{text}' is neither a port nor off", param_hint="'--grpc-port'")


def _sentence(event: Mapping[str, Any]) -> str:
    """One event as a person reads it."""
    version = f"{event.get('model')}:{event.get('version')}"
    match event["event"]:
        case "ready":
            grpc = f", gRPC at {event['grpc']}" if event["grpc"] else ""
            return f"serving {', '.join(event['refs']) or 'nothing yet'} at {event['http']}{grpc}"
        case "loaded":
            tuned = f", as tuned: {event['tuned']}" if event.get("tuned") else ""
            return f"{version} is loaded and warm ({event['load_ms']:.0f} ms){tuned}"
        case "swapped":
            previous = f", which was {event['previous']}" if event.get("previous") else ""
            return f"{version} answers now{previous}"
        case "failed":
            return f"{version} cannot be loaded: {event['reason']}"
        case "abandoned":
            return f"{version} is no longer wanted, so its load was given up"
        case "unloaded":
            return f"{version} is unloaded"
        case "withdrawn":
            return f"{event['model']} has no version in production any more"
        case "registry_lost":
            return f"the registry is out of reach: {event['reason']}; what is loaded goes on answering"
        case "registry_found":
            return "the registry is in reach again"
        case "worker_lost":
            return f"worker {event['worker']} (process {event['pid']}) ended with {event['code']}; {_restart(event)}"
        case "worker_started":
            return f"worker {event['worker']} answers again (process {event['pid']})"
        case "worker_failed":
            again = f"; {_restart(event)}" if "restart_in_s" in event else ""
            return f"worker {event['worker']} did not become ready: {event['reason']}{again}"
        case "restarting":
            return f"replacing {event['workers']} workers, one after the other"
        case "restarted":
            return "every worker is a new one"
        case "draining":
            return "finishing what is under way"
    return ", ".join(f"{name} {value}" for name, value in event.items())


def _restart(event: Mapping[str, Any]) -> str:
    """When a worker that ended is followed by another."""
    in_a_row = f" ({event['crashes']} have ended in a row)" if event["crashes"] > 1 else ""
    return f"another is started in {event['restart_in_s']:g} s{in_a_row}"
