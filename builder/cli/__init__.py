"""The command line: verbs, rendering, the one error boundary."""
