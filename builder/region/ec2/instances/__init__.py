"""EC2's operations on instances: their records, their states, and what they are refused for."""
