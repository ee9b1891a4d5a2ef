"""Finished outputs by key: atomic, shared by concurrent builds."""
