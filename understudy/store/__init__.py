"""What must survive a crash: the ledger, events, keys and the versions of adapters."""
