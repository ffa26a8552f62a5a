"""Everything a client can see."""
