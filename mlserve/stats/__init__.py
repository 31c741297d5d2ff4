"""Statistics as pure functions over numbers and mergeable sufficient statistics; knows nothing of models or traffic."""
