"""What differs between two images: read through libguestfs in one session, then compared without it."""
