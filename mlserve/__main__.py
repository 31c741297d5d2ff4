"""``python -m mlserve`` is ``mlserve``."""

import sys

from mlserve.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
