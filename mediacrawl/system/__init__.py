"""What mediacrawl needs of the operating system and of SQLite, and knows nothing of mediacrawl."""
