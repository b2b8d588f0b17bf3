"""Who clients are and what they may do: credentials in, an identity out, or an error."""
