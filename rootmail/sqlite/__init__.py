"""Django's SQLite, with writers that stand in a line."""
