"""`python -m dfad_bench` is `dfad`."""

from dfad_bench.cli.main import main

main()
