"""The agent's door: JSON over HTTP on a unix socket, under ``/v1``."""
