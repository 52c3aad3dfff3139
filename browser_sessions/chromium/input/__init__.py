"""Mouse, keyboard, touch and paste for a page."""
