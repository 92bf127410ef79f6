"""What is to be decided, and the numbers it is decided by."""
