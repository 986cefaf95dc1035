"""`python -m dfad_bench` and `dfad`: signals are heeded before the first import that takes time."""

from dfad_bench.core.interrupts import EXIT_INTERRUPTED, interrupt_once, leads, unblock_interrupts


def main() -> None:
    """Entry point. An interrupt ends with exit code 130 and a line, whenever it comes."""
    interrupt_once()
    try:
        unblock_interrupts()
        from dfad_bench.cli.main import main as run
    except KeyboardInterrupt:
        import os

        if leads():
            os.write(2, b"Interrupted.\n")
        os._exit(EXIT_INTERRUPTED)  # nothing was begun, and modules are half imported
    run()


if __name__ == "__main__":
    main()
