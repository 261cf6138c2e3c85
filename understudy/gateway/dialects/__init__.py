"""The dialects that the gateway speaks: JSON in, a ChatRequest; an Outcome, JSON or events out."""
