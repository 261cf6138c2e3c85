"""A run directory becomes tables, plots and one self-contained page."""
