"""Storage of bytes: safe paths, part files, published files. Independent of URLs and HTTP."""
