"""Functions of the operating system and of SQLite that mediacrawl uses. They do not depend on mediacrawl."""
