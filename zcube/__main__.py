"""``zcube`` and ``python -m zcube``."""

import signal


def main() -> None:
    """Run the command line; while its modules are loaded Ctrl-C ends the process without a word."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zcube.cli import main as command_line

    try:
        signal.signal(signal.SIGINT, heard)
        command_line()
    except KeyboardInterrupt:
        # Before the command line hears of it.
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
