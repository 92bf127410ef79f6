"""The agent: the loop that carries facts to decisions and decisions to the kernel."""
