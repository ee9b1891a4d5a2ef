"""Small real stages for the executor's tests: they run in worker processes like any other."""
