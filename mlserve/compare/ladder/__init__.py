"""The comparison ladder: what two versions answered to the same rows, compared rung by rung.

Pairs ──► judging (row by row: bit-equal? within tolerance? decided alike? how far?)
              │
              ├─► exactness   rows and outputs that are equal, or near enough; the largest gaps
              ├─► decisions   agreement, confusion, margins, top k
              ├─► worst       the farthest rows, with their inputs
              ├─► noise       whether that is more than the baseline differs from itself
              └─► explaining  where in the inputs the differing rows lie
comparison.py holds them together; packing.py makes what they learned bytes.
"""
