"""The classic commands of EC2, those of the AMI tools and of the API tools, with the options of their manuals.

A module for each command, or for a family of them: its table of options, and what it does with them. What they share
is here:

    options   what an option is, and the tables that commands have in common
    command   from words to options, help, manual and notes
    place     which region, at which address, as whom
    signer    whose keys a bundle is made with
    api       a call of the EC2 API, and how what it answers is shown
    lines     the tables of the EC2 API tools: from answers to columns

A further ec2-* command is a `Command` and a `main` of its own, and a line in pyproject.toml.
"""
