"""What is done over any link."""
