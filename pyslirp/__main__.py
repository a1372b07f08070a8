"""``python -m pyslirp``."""

import sys

from pyslirp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
