"""Questions, and votes on them."""
