//! Where what must outlive the process lives: SQLite in the data directory, or PostgreSQL.
