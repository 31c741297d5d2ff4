"""From a training framework to production, and honest there: the Python API behind the ``mlserve`` command."""

__version__ = "0.1.0"
