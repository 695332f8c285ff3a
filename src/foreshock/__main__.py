"""``python -m foreshock`` is the ``foreshock`` command."""

import sys

from foreshock.harness.cli.main import main

sys.exit(main())
