"""The commands: thin doors over the Python API, one module each, imported only when called."""
