"""ami-factory: a recipe goes in, a registered Amazon Machine Image comes out."""

__version__ = "0.1.0"
