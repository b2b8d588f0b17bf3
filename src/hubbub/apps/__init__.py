"""Applications that ship with Hubbub, written on its public names alone, as a user would write them."""
