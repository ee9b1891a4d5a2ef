"""AMIs where people use them: copied, shared, named by parameters, held against what should be, tidied up."""
