"""Runs of every kind on one page: their quality over what they cost."""
