"""Unit tests of hubbub.transports: a socket that writes down what it is asked for."""
