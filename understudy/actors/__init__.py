"""The engine of everything that exchanges messages in rounds.

An actor (actor.py) takes steps: it is given what arrived, may wait for jobs (jobs.py), and returns
what it sends. A crew (crew.py) takes the steps of all actors: in one process, in several
(workers.py) or on machines apart (flower/). A factory (factory.py) says how actors are made, so
that a process that runs some of them makes only these, from their own data. The loop (loop.py) goes
through the moments: deliver, step, carry.
"""
