"""What carries connections between sockets and the hub."""
