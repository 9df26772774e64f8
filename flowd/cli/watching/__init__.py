"""What `flowd top` shows: looks at a daemon, the rates between them, and the screen."""
