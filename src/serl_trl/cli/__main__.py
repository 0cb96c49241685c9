"""`python -m serl_trl.cli`, for launchers that take a module."""

import sys

from serl_trl.cli.entry import main

sys.exit(main())
