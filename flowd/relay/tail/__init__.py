"""Log files followed: every line once, over rotations and restarts, since the places are stored with the lines.

From the ground: `identity` (which file is this), `places` (what is stored of it), `names` (how rotated files are
called), `content` and `handles` (bytes of open files), `reader` (whole lines), `file` (one file), `survey` (what is
there now), `strangers` (what an unknown file is), `catalog` (one stream's files), `follower` (one path, and what was
rotated away from it), `feed` (chunks of lines), `tail` (all streams, a turn at a time), `notice` (inotify), `source`
(the thread), `handover` (between the threads), `lane` (what the thread that carries lines does).
"""
