"""One-file HTML reports: no network, no script; pictures are SVG within the page.

    values ── figures (what to show, in which words) ── charts (SVG) ──► card.html.j2 ──► one HTML text

Knows no registry: a card is made of the plain mapping that ``mlserve show --json`` prints.
"""
