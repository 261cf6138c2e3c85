"""What must survive a crash: the ledger, keys, events, and which adapter serves."""
