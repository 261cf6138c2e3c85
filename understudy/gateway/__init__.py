"""One OpenAI-compatible endpoint: the local model answers first and asks the cloud for help."""
