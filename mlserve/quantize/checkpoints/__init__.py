"""A smaller language model: a checkpoint folder in, a checkpoint folder out, judged on text that it was not made from.

    DIR ── read and quantized as it is read ── written beside OUTDIR, before anything is run (``making``)
                                                      │
    text ─► windows ─► both models, in turns ◄── loaded again from what was written
                            │
               scoring ─► perplexity, KL, agreement with intervals over windows (``metrics``) ─► ``quantize.gate``

A model that has been run must never be saved: on some CPUs bitsandbytes repacks 4-bit weights for the first run, and
what is saved afterwards is wrong without a word, unless their scales are quantized too. Hence the order, and hence
double quantization.
"""
