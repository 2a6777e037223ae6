"""AWS-shaped local HTTP for a handler's own SDK."""
