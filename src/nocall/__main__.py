"""`python -m nocall` is `nocall`."""

from nocall.cli import main

main()
