"""Where rooms keep their events."""
