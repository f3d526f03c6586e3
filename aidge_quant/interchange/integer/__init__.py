"""The integer form: standard integer operators that give the bits of the golden model."""
