"""What runs inside the sandbox, under a bare Python. It imports nothing from outside this room.

The server waits for a job without reading it.  Then it forks twice: a *subject*, confined in
namespaces of its own, that will run the program; and a *judge*, that reads the job.  The subject
is forked before the job is read, from a process that reads no job: neither tests nor expected
answers are ever in its memory.
"""
