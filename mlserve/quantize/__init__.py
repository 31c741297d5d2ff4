"""A smaller, faster ONNX model, measured on the file as written and refused where it got worse or gained nothing.

    MODEL ── census ──► is there anything to do, and for this target?
      │                                     │
      │   calibration rows ──► observing ──► ranges ──► int8 ─────────────┐
      └──────────────────── fp16 | int8_dynamic | weights_only ───────────┴──► graph ── written beside OUT
                                                                                 │
               evaluation rows ── holding_out ──► coverage of the ranges ◄───────┤
                                       └────────► metric before and after ◄──────┤
               both loaded, in turns ──► latency (measuring) ◄───────────────────┘
                                             │
                       gate (pure) ──► passed: OUT and OUT.evidence.json; otherwise nothing is written

``methods`` is the table of quantizers, ``targets`` that of what must not go where, ``quantizer`` what a method has to
offer, ``quantizing`` the whole way.
``attempting`` is one method tried; ``auto`` tries several, and ``mixing`` chooses a kind for each layer (``layers``) by
its ``sensitivity`` on the ``ladder``; ``applying`` makes such a choice a graph; ``pareto`` says which of all is best.
"""
