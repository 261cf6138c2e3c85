"""Small local models that keep learning and know when to ask a big cloud model, within a budget."""

__version__ = "0.1.0"
