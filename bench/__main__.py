"""`python -m bench` is `python -m bench.workflows`."""

from __future__ import annotations

import sys

from bench.workflows import main

sys.exit(main())
