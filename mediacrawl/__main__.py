"""`python -m mediacrawl …`."""

from mediacrawl.cli import main

main()
