"""The very first moments of a call."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

INTERRUPTING = """
import sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.argv = ["mlserve", *{words}]
from mlserve.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["mlserve.cli.app", "typer", "mlserve.wiring.serving"])
def test_ctrl_c_while_it_is_imported_is_exit_130_without_a_traceback(module: str) -> None:
    def interrupted(*words: str) -> subprocess.CompletedProcess[str]:
        code = INTERRUPTING.format(module=module, words=list(words))
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    told, as_json = interrupted("serve", "m.onnx"), interrupted("serve", "m.onnx", "--json")

    assert (told.returncode, told.stdout) == (130, "")
    assert told.stderr == "error: interrupted\n"
    assert (as_json.returncode, json.loads(as_json.stderr)["error"]["code"]) == (130, 130)
