-- Only BIGINT and TEXT: both databases spell them alike, and every instant is a count of microseconds since 1970.

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    lineage TEXT NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    app TEXT,
    scopes TEXT NOT NULL,
    models TEXT NOT NULL,
    apps TEXT NOT NULL,
    requests_per_minute BIGINT,
    tokens_per_minute BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    replaced_by TEXT
);

CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE buckets (
    lineage TEXT NOT NULL,
    kind TEXT NOT NULL,
    level BIGINT NOT NULL,
    filled_at BIGINT NOT NULL,
    PRIMARY KEY (lineage, kind)
);

CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (tenant, name)
);

CREATE TABLE app_versions (
    app TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    model TEXT NOT NULL,
    definition TEXT NOT NULL,
    allowed_origins TEXT NOT NULL,
    store_prompts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app, version)
);

CREATE TABLE usage (
    day TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key_id TEXT NOT NULL,
    app TEXT NOT NULL,
    model TEXT NOT NULL,
    requests BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    PRIMARY KEY (day, tenant, key_id, app, model)
);

CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    result TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The end of the chain, in one row: taking it is what puts writers in order, and it shows rows cut off the end.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);

INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, '');
