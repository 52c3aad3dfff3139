"""The entry point of the command `browser-sessions` and of `python -m browser_sessions`. It imports nothing before
Ctrl-C is an exit code: the command line takes a quarter of a second to load."""


def main() -> None:
    try:
        from browser_sessions.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # cli.exit_codes.ExitCode.INTERRUPTED


if __name__ == "__main__":
    main()
