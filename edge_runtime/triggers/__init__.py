"""What turns the world into events: one file each."""
