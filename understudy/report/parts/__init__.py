"""What every page is made of: its frame, tables, plots and numbers."""
