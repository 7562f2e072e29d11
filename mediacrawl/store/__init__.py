"""Where the bytes lie: safe paths, part files, published files. Knows no URL and no HTTP."""
