"""Our mathematics inside other projects' trainers; each module needs its own extra."""
