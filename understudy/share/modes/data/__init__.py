"""Instances cross the edges."""
