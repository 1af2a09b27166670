"""The command `preforkctl`: finds a master, asks it, and shows what it says."""
