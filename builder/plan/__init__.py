"""Planning: pure. A locked recipe goes in, steps with keys come out, and what to do about each and why."""
