"""The port of progress."""

from mlserve.core.progress import Progress, silent


def test_silence_is_progress():
    progress: Progress = silent

    assert progress("reading", 1, None) is None
