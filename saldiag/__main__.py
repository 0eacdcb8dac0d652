"""``python -m saldiag``: the command line without the installed script."""

from saldiag.cli.main import run

if __name__ == "__main__":
    run()
