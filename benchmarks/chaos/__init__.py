"""What clients lose when workers are replaced, killed or broken: prefork beside its peers.

Clients on bare sockets that never retry send requests, each with an id, while something is done to
the server. The app notes each id when it is executed, so in the end every request is accounted
for: answered, lost, run twice, or failed in a worker that was killed in the middle of it.
"""
