"""Texts continued: each as if it were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlserve.checkpoint.generation import Wish
from mlserve.errors import DeadlineExceeded, InvalidInput, NotFound, Unavailable
from mlserve.runtime.generation.opening import open_checkpoint
from tests.checkpoints import Trained

PROMPTS = ("Return the", "If the file", "A much longer text that begins the documentation of a function and goes on")


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def generator(request: pytest.FixtureRequest) -> Any:
    from mlserve.runtime.generation.generating import Generator

    trained: Trained = request.getfixturevalue(request.param)
    return Generator(open_checkpoint(trained.folder))


def test_a_text_gets_the_same_continuation_alone_and_beside_others(generator: Any) -> None:
    wishes = [Wish(12), Wish(12, 0.9, 0.9, seed=3), Wish(20, 1.3, seed=4)]

    together = generator.generate(PROMPTS, wishes)

    assert together == [generator.generate([prompt], [wish])[0] for prompt, wish in zip(PROMPTS, wishes, strict=True)]


def test_seeds_decide_what_is_drawn(generator: Any) -> None:
    def drawn(seed: int) -> str:
        return str(generator.generate(["Return the"], [Wish(24, 1.5, seed=seed)])[0].text)

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1


def test_a_small_share_of_the_likeliest_is_the_likeliest(generator: Any) -> None:
    likeliest = generator.generate(["Return the"], [Wish(12)])

    assert generator.generate(["Return the"], [Wish(12, 1.0, top_p=1e-6, seed=1)]) == likeliest


def test_each_row_ends_at_its_own_length(generator: Any) -> None:
    wishes = [Wish(3, 2.0, seed=1), Wish(9, 2.0, seed=1), Wish(1)]

    made = generator.generate(PROMPTS, wishes)

    assert [one.output_tokens for one in made] == [3, 9, 1]
    assert {one.reason for one in made} == {"length"}


def test_a_text_that_is_complete_stops(generator: Any) -> None:
    made = generator.generate(["Return the"] * 8, [Wish(200, 1.0, seed=seed) for seed in range(8)])

    stopped = [one for one in made if one.reason == "stop"]
    assert stopped
    assert all("<|end|>" not in one.text for one in stopped)


def test_a_long_neighbour_takes_no_room(generator: Any) -> None:
    wish = Wish(300, 2.0, seed=5)
    alone = generator.generate(["A"], [wish])

    assert generator.generate(["A", "word " * 60], [wish, Wish(300)])[0] == alone[0]


def test_the_prompt_comes_back_where_it_is_asked_for(generator: Any) -> None:
    plain, echoed = generator.generate(["Return the"] * 2, [Wish(8), Wish(8, echoes=True)])

    assert echoed.text == "Return the" + plain.text


def test_an_empty_text_begins_where_texts_begin(generator: Any) -> None:
    (made,) = generator.generate([""], [Wish(4)])

    assert made.input_tokens == 1


def test_a_text_without_room_is_refused_before_anything_runs(generator: Any) -> None:
    with pytest.raises(InvalidInput, match="takes 256"):
        generator.generate(["word " * 400], [Wish(4)])


def test_what_takes_too_long_is_given_up(generator: Any) -> None:
    from mlserve.runtime.generation.generating import Generator

    ticks = iter(range(1000))
    slow = Generator(generator.opened, clock=lambda: float(next(ticks)))

    with pytest.raises(DeadlineExceeded):
        slow.generate(["A"], [Wish(100, 2.0, seed=1)], limit_s=5.0)


def test_rows_of_both_shapes_may_share_a_run(generator: Any) -> None:
    from mlserve.runtime.generation.probing import certify

    certificate = certify(generator)

    assert certificate.batchable
    assert certificate.exactness in ("exact", "close")


def test_a_model_that_looks_at_its_padding_may_not(llama: Trained) -> None:
    from mlserve.runtime.generation.generating import Generator
    from mlserve.runtime.generation.probing import certify

    opened = open_checkpoint(llama.folder)
    forward = opened.model.forward

    def unmasked(*args: Any, attention_mask: Any = None, **more: Any) -> Any:
        return forward(*args, attention_mask=attention_mask * 0 + 1, **more)

    opened.model.forward = unmasked

    assert not certify(Generator(opened)).batchable


def test_a_folder_that_cannot_be_loaded_is_told(llama: Trained, tmp_path: Path) -> None:
    for path in llama.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(InvalidInput, match="cannot be loaded"):
        open_checkpoint(tmp_path)


def test_a_device_that_is_not_here_is_unavailable(llama: Trained) -> None:
    with pytest.raises(Unavailable):
        open_checkpoint(llama.folder, device="cuda")


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_checkpoint(tmp_path / "nowhere")
