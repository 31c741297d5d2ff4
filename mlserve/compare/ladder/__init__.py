"""The comparison ladder: rungs that learn, row by row, how one version's answers differ from another's."""
