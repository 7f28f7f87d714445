"""What an application has in a module beside its machines."""

from __future__ import annotations

import time

LOADED_AT = time.time()
RATE = 19
