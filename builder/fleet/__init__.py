"""Many recipes as one: what a night builds, and how it went."""
