"""Clients with a small model each steer a frozen large one, and a server on a star helps them."""
