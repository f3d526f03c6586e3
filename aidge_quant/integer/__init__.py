"""The integer network: layers, golden model, overflow proof, storage, and lowering from a graph."""
