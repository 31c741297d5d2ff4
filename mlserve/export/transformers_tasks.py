"""What a checkpoint is for: the task that its config names, and how transformers and optimum load it for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlserve.errors import Unsupported, UsageError


@dataclass(frozen=True, slots=True)
class Task:
    """``loader`` is the class of transformers, ``head`` how the names of its architectures end."""

    name: str
    loader: str
    head: str

    @property
    def has_past(self) -> bool:
        """Whether keys and values of earlier tokens are inputs and outputs."""
        return self.name == "text-generation"


TASKS = {
    task.name: task
    for task in (
        Task("feature-extraction", "AutoModel", "Model"),
        Task("text-classification", "AutoModelForSequenceClassification", "ForSequenceClassification"),
        Task("token-classification", "AutoModelForTokenClassification", "ForTokenClassification"),
        Task("text-generation", "AutoModelForCausalLM", "ForCausalLM"),
    )
}


def chosen_task(name: str | None, architectures: Sequence[str], *, pools: bool) -> Task:
    """The task called ``name``, or else the one that ``architectures`` of a config stand for.

    One that ``pools`` (sentence-transformers) is for feature extraction whatever it is made of. Raises UsageError for a
    name that is no task, Unsupported where none can be told.

    >>> chosen_task(None, ["GPT2LMHeadModel"], pools=False).name
    'text-generation'
    """
    choices = ", ".join(TASKS)
    if name is not None:
        if name not in TASKS:
            raise UsageError(f"no task '{name}'", hint=f"--task is one of {choices}")
        return TASKS[name]
    if pools:
        return TASKS["feature-extraction"]
    for architecture in architectures:
        plain = (
            architecture.removesuffix("Model") + "ForCausalLM" if architecture.endswith("LMHeadModel") else architecture
        )
        found = [task for task in TASKS.values() if plain.endswith(task.head)]
        if found:
            return found[0]
    shown = ", ".join(architectures) or "nothing"
    raise Unsupported(
        f"the checkpoint's config names {shown}, which is for no task known here", hint=f"--task {choices}"
    )
