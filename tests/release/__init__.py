"""What is released: the lock files, the archives, the list of what is inside."""
