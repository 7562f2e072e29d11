"""The pages of the server, an application of Django: folders, players, search, logins, people."""
