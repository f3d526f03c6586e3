"""Graphs in other frameworks; each has a package of its own, and an extra that installs it."""
