"""The report of a run of agents that share."""
