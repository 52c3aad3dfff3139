"""`python -m browser_sessions`: the same as the command `browser-sessions`."""

from browser_sessions.cli import main

if __name__ == "__main__":
    main()
