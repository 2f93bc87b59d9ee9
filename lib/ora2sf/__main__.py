"""``python -m ora2sf`` is the command ``ora2sf``."""

import sys

from ora2sf.cli import main

sys.exit(main())
