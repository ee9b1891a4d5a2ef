"""What an image is made of, in the words of others: SPDX for its packages, in-toto and SLSA for its making."""
