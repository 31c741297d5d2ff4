"""gRPC's messages of the Open Inference Protocol: what servers, load generators and checks of servers share.

``tables.py`` says which fields there are; ``messages.py`` makes classes of them in a descriptor pool of its own, so
that other packages with the same messages (tritonclient) can be imported beside it; ``wire.py`` writes by hand what is
written often. Knows no sockets and no models.
"""
