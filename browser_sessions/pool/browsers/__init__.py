"""The Chromium processes of this node: started, shared, probed, replaced."""
