"""Events: the journal, and its readers that archive, log and count them."""
