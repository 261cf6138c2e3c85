"""What may cross an edge, one kind of sharing per file."""
