"""The frontier: which pages are still to be crawled, safe against a crash."""
