"""The HTTP/JSON gateway: the service's calls as HTTP, answered by the gRPC service of the same process.

It decides nothing: credentials, deadlines and ids of calls are passed on, and who may call, what is valid and how much
is too much is told by the service.
"""
