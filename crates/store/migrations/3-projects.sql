CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    shared BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE INDEX projects_by_change ON projects (tenant, changed_at, id);

CREATE TABLE project_versions (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    saved_by TEXT NOT NULL,
    saved_at BIGINT NOT NULL,
    note TEXT NOT NULL,
    autosave BIGINT NOT NULL,
    restored_from BIGINT,
    PRIMARY KEY (project, version)
);
