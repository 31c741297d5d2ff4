"""A model's whole loop with the ``mlserve`` command: two trainings, one server, a swap under load, a rollback.

The rows are the breast-cancer table that scikit-learn ships (569 rows, 30 measurements, malignant or benign): real, and
no download. It stands in for a table of payments; only the model's name is about fraud.
"""
