"""The commands of `forebay`, one per module; each module has its click command as `command`."""
