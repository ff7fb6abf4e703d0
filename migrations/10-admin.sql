-- v9 -> v10 (compatible with v10+): Operators, scopes, audit, usage
-- An older binary would let suspended tenants in and take a key that may only read for one that may do everything.

ALTER TABLE tenant ADD COLUMN metadata TEXT NOT NULL DEFAULT '';       -- JSON object of strings, sorted by key; empty for none
ALTER TABLE tenant ADD COLUMN folded TEXT NOT NULL DEFAULT '';         -- name, external id and id in lower case, for searching
ALTER TABLE tenant ADD COLUMN suspended_at BIGINT NOT NULL DEFAULT 0;
UPDATE tenant SET folded = LOWER(name) || ' ' || LOWER(COALESCE(external_id, '')) || ' ' || tenant_id;

ALTER TABLE api_key ADD COLUMN scopes TEXT NOT NULL DEFAULT '';        -- separated by commas; empty for all
ALTER TABLE api_key ADD COLUMN last_used_at BIGINT NOT NULL DEFAULT 0; -- to the minute

-- The operator's own keys. They belong to no tenant.
CREATE TABLE admin_key (
	key_id       TEXT   NOT NULL PRIMARY KEY,
	label        TEXT   NOT NULL,
	role         TEXT   NOT NULL,
	hash         bytea  NOT NULL,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL DEFAULT 0,
	revoked_at   BIGINT NOT NULL DEFAULT 0,
	last_used_at BIGINT NOT NULL DEFAULT 0
);

-- What operators did. A row is written before the action; its outcome is filled in once, afterwards. It outlives its tenant.
CREATE TABLE audit (
-- only: postgres
	audit_id   BIGINT   NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
-- only: sqlite
	audit_id   INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
	at         BIGINT   NOT NULL,
	actor      TEXT     NOT NULL, -- id of the admin key; "environment" or "node" where there is none
	role       TEXT     NOT NULL,
	operation  TEXT     NOT NULL,
	tenant_id  TEXT     NOT NULL, -- empty: of none
	resource   TEXT     NOT NULL, -- id of the key or the like that it was done to
	status     BIGINT   NOT NULL, -- HTTP status; 0 while it is not known
	code       TEXT     NOT NULL, -- of the problem that was answered
	client     TEXT     NOT NULL, -- address
	request_id TEXT     NOT NULL,
	detail     TEXT     NOT NULL  -- JSON object, or empty
);

-- The operator's view over all tenants: by time, or of one tenant.
CREATE INDEX audit_time ON audit (at, audit_id);
CREATE INDEX audit_tenant ON audit (tenant_id, at, audit_id);

-- What a tenant used on a day (UTC).
CREATE TABLE usage_day (
	tenant_id       TEXT   NOT NULL,
	day             TEXT   NOT NULL, -- 2026-11-29
	messages_in     BIGINT NOT NULL DEFAULT 0,
	messages_out    BIGINT NOT NULL DEFAULT 0,
	media_bytes_in  BIGINT NOT NULL DEFAULT 0,
	media_bytes_out BIGINT NOT NULL DEFAULT 0,
	api_calls       BIGINT NOT NULL DEFAULT 0,

	PRIMARY KEY (tenant_id, day)
-- only: postgres
);
-- only: sqlite
) WITHOUT ROWID;

-- Names the last collected usage that was added, so that adding it again after a lost answer changes nothing.
ALTER TABLE node ADD COLUMN usage_mark TEXT NOT NULL DEFAULT '';

-- The deletions of tenants: what was deleted is counted in the transactions that delete it. The rows stay as proof.
CREATE TABLE deletion (
	tenant_id    TEXT   NOT NULL PRIMARY KEY,
	external_id  TEXT   NOT NULL,
	device       TEXT   NOT NULL, -- what became of the linked device
	requested_at BIGINT NOT NULL,
	completed_at BIGINT NOT NULL DEFAULT 0,
	counts       TEXT   NOT NULL  -- JSON object: rows by kind
);

CREATE INDEX deletion_time ON deletion (requested_at, tenant_id);
