"""The Forward sink: kept lines as records of the Fluent Forward protocol, in chunks that the far end acknowledges.

A room each: `servers` addresses and whose turn it is · `security` TLS and the shared key · `entries` lines as records
· `chunks` what is sent and acknowledged as one · `session` one connection · `link` one
server, connected to for ever · `delivery` what the links carry together · `settings` what it is told · `sink` the door.
"""
