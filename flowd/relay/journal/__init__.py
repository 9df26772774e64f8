"""The journal: what was kept, who sent it, who has read it; one LMDB environment, one writing thread.

From the ground: `layout` (records as bytes), `clock` (how old a batch is), `reading` and `transaction` (what is stored,
and what changes it), `store` (the environment), `known` (what is remembered beside it), `verify` and `inspection` (is
the file whole?), `opening`, `outbox` (what became of a job), `committing` (a group of jobs, and the room for it),
`writer` (the thread).
"""
