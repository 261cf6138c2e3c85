"""The networks that agents learn: built in, or of the user's own."""
