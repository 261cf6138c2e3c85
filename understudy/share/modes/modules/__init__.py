"""Modules cross the edges."""
