"""How the tables of people have changed."""
