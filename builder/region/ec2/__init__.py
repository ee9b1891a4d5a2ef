"""EC2's calls, kept in the region's own state."""
