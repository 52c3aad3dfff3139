"""One session's browser context: its options, pages, page actions and dialogs."""
