"""`python -m flowd` is the command `flowd`."""

import sys

from flowd.cli import main

if __name__ == "__main__":
    sys.exit(main())
