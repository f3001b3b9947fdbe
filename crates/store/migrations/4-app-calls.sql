-- What apps were asked, where they say that it may be kept. No reference to `apps`: rows come in batches, and one of an
-- app that was removed in between must not hold the others up.
CREATE TABLE app_calls (
    id TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    question TEXT NOT NULL,
    output TEXT NOT NULL,
    outcome TEXT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    millis BIGINT NOT NULL
);

CREATE INDEX app_calls_by_time ON app_calls (app, at, id);
