"""``mlserve lineage``: what a version was made from, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Ref, RegistryUrl
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.registry.lineage import Lineage, Member


def lineage(
    ref: Ref,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show ancestors and descendants of a version."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.lineage import lineage as run

    out = Output.for_flags(json=as_json, quiet=quiet)
    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        found = run(app.store, target)
    if out.mode == "human":
        for line in _tree(found):
            out.detail(line)
        return
    members = (*reversed(found.ancestors), found.member, *found.descendants)
    out.table((), (), document=found, made=[member.version.ref for member in members])


def _tree(found: Lineage) -> Iterator[str]:
    """A line a version, each below its parent: the ancestors from the first on, the one asked for marked, its heirs."""
    for depth, member in enumerate((*reversed(found.ancestors), found.member)):
        branch = "" if depth == 0 else "   " * (depth - 1) + "└─ "
        yield branch + _line(member, is_asked=member is found.member)
    last: dict[str | None, str] = {member.version.parent: member.version.ref for member in found.descendants}
    stems: dict[str | None, str] = {found.member.version.ref: "   " * len(found.ancestors)}
    for member in found.descendants:
        version = member.version
        stem, is_last = stems.get(version.parent, ""), last[version.parent] == version.ref
        stems[version.ref] = stem + ("   " if is_last else "│  ")
        yield stem + ("└─ " if is_last else "├─ ") + _line(member)


def _line(member: Member, *, is_asked: bool = False) -> str:
    from mlserve.cli.figures import how_made
    from mlserve.cli.rendering import cell

    version = member.version
    commit = f"commit {version.commit[:10]}{' with changes' if version.dirty else ''}" if version.commit else None
    data = f"data {version.data_digest[:19]}…" if version.data_digest else None
    parts = [
        f"{version.ref} ◄" if is_asked else version.ref,
        ", ".join(version.stages) or None,
        "archived" if version.state == "archived" else None,
        how_made(member.made),
        data or (f"data {version.data_uri}" if version.data_uri else None),
        commit,
        f"{cell(version.created_at)} by {version.created_by}",
    ]
    return "  ".join(cell(part) for part in parts if part is not None)
