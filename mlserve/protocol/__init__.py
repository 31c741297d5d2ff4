"""The Open Inference Protocol's messages as bytes: what servers, load generators and checks of servers share.

It knows no sockets, no models and no HTTP.
"""
