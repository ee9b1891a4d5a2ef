"""The verbs of `ami-factory images`."""
