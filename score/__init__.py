"""How near a restored photo is to the original, with every choice of the protocol pinned."""
