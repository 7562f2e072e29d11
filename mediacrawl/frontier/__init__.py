"""The frontier: the pages that are still to be crawled, kept across a crash."""
