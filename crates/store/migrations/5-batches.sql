CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    about TEXT NOT NULL,
    task TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    -- Which server works on it, and when it last said so.
    runner TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE INDEX batches_by_tenant ON batches (tenant, created_at);

CREATE TABLE batch_rows (
    batch TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    line BIGINT NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL,
    output TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    error TEXT NOT NULL,
    gold TEXT,
    answer TEXT,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    PRIMARY KEY (batch, number)
);

CREATE INDEX batch_rows_by_state ON batch_rows (batch, state, number);
