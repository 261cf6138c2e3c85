"""Weights cross the edges."""
