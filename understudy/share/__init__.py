"""Agents on a graph that learn sequences of tasks and share what they have."""
