"""wrk (https://github.com/wg/wrk), where it is installed, beside our own generator: do both see the same server?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.servers import HOST, LOAD_CORE, Server, on_cores
from tests.bench.table import NotAvailable


def wrk_rps(server: Server, concurrency: int, seconds: float) -> float:
    """Requests a second that wrk brings through, with the first of the server's messages. Raises NotAvailable."""
    if shutil.which("wrk") is None:
        raise NotAvailable("wrk is not installed")
    head, _, body = server.messages[0].request.partition(b"\r\n\r\n")
    path = head.split(b" ")[1].decode()
    with TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        script = Path(folder) / "post.lua"
        script.write_text(
            'wrk.method = "POST"\n'
            f'wrk.body = io.open("{folder}/body", "rb"):read("*a")\n'
            'wrk.headers["Content-Type"] = "application/json"\n'
        )
        command = ["wrk", "-t1", f"-c{concurrency}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        with on_cores(LOAD_CORE):
            done = subprocess.run([*command, f"http://{HOST}:{server.port}{path}"], capture_output=True, text=True)
    if done.returncode or "Non-2xx" in done.stdout:
        raise NotAvailable(f"wrk: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("Requests/sec"))
