"""The domain on one node: connections, rooms, members, fan-out. No I/O; time and randomness come through ports."""
