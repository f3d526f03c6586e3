"""Our own quantization recipe; its steps are not joined to one function yet."""
