"""The 674 OpenFace features: their names, and how a CSV holds them."""
