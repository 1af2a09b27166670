"""How connections end, whoever ends them."""

from __future__ import annotations

import struct

# So long is read what a client still sends after its last response, in seconds.
LINGER_SECONDS = 2.0
# `struct linger` of socket(7), for SO_LINGER: the close that follows sends a reset.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
