"""The report of a run that trains one model on a stream and asks a cloud."""
