CREATE TABLE tunings (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    task TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    -- The name under which the result is served, after the base's and a colon; empty where it is not.
    served_as TEXT NOT NULL,
    project TEXT NOT NULL,
    -- Which server works on it, and when it last said so.
    runner TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE INDEX tunings_by_tenant ON tunings (tenant, created_at);
