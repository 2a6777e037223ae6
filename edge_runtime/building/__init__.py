"""Building and delivering: plans, and what carries them out."""
