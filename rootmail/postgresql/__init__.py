"""Django's PostgreSQL, with statements that are prepared."""
