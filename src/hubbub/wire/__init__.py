"""Bytes to messages and back. No I/O, no clock, no randomness."""
