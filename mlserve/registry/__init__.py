"""The system of record: models, immutable versions, stages, evidence, policies and who follows them.

    ``registering``  files ──▶ ``artefacts`` (sha256, write-once) ──▶ version row        a version's birth
    ``evidencing``   a measurement of one digest                                          what is known of it
    ``promoting``    ``gating`` (evidence × ``policies``) ──▶ compare-and-set on (stage, generation) ──▶ history row
    ``following``    epoch ──▶ placements ──▶ what each server has loaded                 how servers notice
    ``drifting``     a version's profile, the runs of drift checks and what they remember  whether it is still right

Every change is one transaction of ``store.Store`` that ends by adding one to the epoch, on SQLite and PostgreSQL alike.
Only this package and ``migrations/`` know SQL; it never opens a model: whoever registers brings manifest and signature.
"""
