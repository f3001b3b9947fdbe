-- Of a session's token only the hash is here, so that whoever reads the database cannot sign in with it.
CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
