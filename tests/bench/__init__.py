"""Benchmarks: `make bench`. They print ratios against a peer or a limit of the same run; nothing here is a test."""
