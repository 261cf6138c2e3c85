"""A first config: for a model, data and a cloud after looking at them, or a template as it is."""
