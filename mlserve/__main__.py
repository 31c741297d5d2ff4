"""``mlserve``, and ``python -m mlserve``: a Ctrl-C ends it quietly, also while it is still being imported."""

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the process's own call; its exit code."""
    try:
        from mlserve.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        document = '{"error": {"code": 130, "type": "Interrupted", "message": "interrupted", "hint": null}}'
        print(document if "--json" in sys.argv else "error: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
