"""What happened: the journal, and its readers that keep, log and count it."""
