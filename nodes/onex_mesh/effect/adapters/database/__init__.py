"""SQL databases: SQLite and PostgreSQL through SQLAlchemy Core. Exactly once by a record in the same transaction."""
