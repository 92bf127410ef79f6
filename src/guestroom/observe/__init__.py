"""What is true now: readers of the kernel's files, each figure with the way it was obtained."""
