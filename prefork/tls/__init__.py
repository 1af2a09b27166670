"""The terminator: a process that speaks TLS with clients, so that nobody else has to.

It imports `wire/` and what is below, and never `master/` or `worker/`.
"""
