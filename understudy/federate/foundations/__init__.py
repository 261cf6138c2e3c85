"""Frozen networks that generated adapters steer."""
