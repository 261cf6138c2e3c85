"""The door of the gateway: who may come in, with what, how fast, and how it is answered."""
