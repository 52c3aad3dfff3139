"""A page's frames as Chromium draws them."""
