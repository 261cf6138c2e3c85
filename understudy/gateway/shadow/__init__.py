"""Proof before trust: what a local model would have saved on questions that a cloud answered."""
