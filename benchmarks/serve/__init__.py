"""Compare `mediacrawl serve` with nginx and copyparty: `python -m benchmarks.serve`."""
