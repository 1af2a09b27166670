"""`python -m prefork` is the command `prefork`."""

import sys

from prefork.cli import main

sys.exit(main())
