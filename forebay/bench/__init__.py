"""`forebay bench`: what the data plane costs, beside others on the same machine in the same run."""
