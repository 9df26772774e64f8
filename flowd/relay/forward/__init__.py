"""The Forward source: records that collectors send by the Fluent Forward protocol, version 1, over TCP, TLS and unix
sockets.

One thread speaks the protocol (`source`, with a `connection` for each sender); the one that carries lines has them
decided and stored (`lane`). Between them lies a bounded `handover`. A message is acknowledged when all of its records
are stored.
"""
