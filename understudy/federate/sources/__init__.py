"""Where samples come from: a form of data per file."""
