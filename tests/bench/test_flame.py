"""Stacks become a tree that says where the time is."""

from __future__ import annotations

from tests.bench.flame import drawn, tree_of

STACKS = [
    "main (m.py:1);run (loop.py:9);parse (p.py:3) 30",
    "main (m.py:1);run (loop.py:9);parse (p.py:4);decode (d.py:1) 30",
    "main (m.py:1);run (loop.py:9) 39",
    "main (m.py:1);run (loop.py:9);rare (r.py:1) 1",
    "other (t.py:1);wait (t.py:2) 500",
]


def test_lines_of_one_function_are_one_and_what_is_elsewhere_is_left_out() -> None:
    tree = tree_of(STACKS, "run")

    assert tree.samples == 100
    assert tree.called["parse (p.py)"].samples == 60
    assert tree.called["parse (p.py)"].called["decode (d.py)"].samples == 30


def test_the_tree_is_drawn_from_the_largest_down_without_crumbs() -> None:
    tree = tree_of(STACKS, "run")

    assert list(drawn(tree, tree.samples)) == [" 60.0%  parse (p.py)", " 30.0%    decode (d.py)"]
