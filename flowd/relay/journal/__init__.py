"""The journal: what was kept, who sent it, who has read it; one LMDB environment, one writing thread.

From the ground: `layout` (records as bytes), `opening` (is the file whole?), `store` (the environment and its
transactions), `reading`, `retention`, `writer` (the thread that commits).
"""
