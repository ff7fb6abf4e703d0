-- v0 -> v1 (compatible with v1+): Tenants and what they own
-- Every primary key and every index starts with tenant_id. Times are Unix milliseconds, 0 where there is none.

CREATE TABLE tenant (
	tenant_id   TEXT   NOT NULL PRIMARY KEY,
	external_id TEXT,
	name        TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	-- Set first when a tenant is deleted: from then on nobody sees it, and what it owned goes in small steps.
	deleted_at  BIGINT NOT NULL DEFAULT 0
);

-- The one index that does not start with the tenant: an external id is what a tenant is looked up by.
CREATE UNIQUE INDEX tenant_external_id ON tenant (external_id);

-- What a tenant's numbers have come to. Each commit moves version, so that a second writer notices the first.
CREATE TABLE head (
	tenant_id TEXT   NOT NULL PRIMARY KEY REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	seq       BIGINT NOT NULL DEFAULT 0,
	ord       BIGINT NOT NULL DEFAULT 0,
	version   BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE api_key (
	tenant_id  TEXT   NOT NULL REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	key_id     TEXT   NOT NULL,
	label      TEXT   NOT NULL,
	hash       bytea  NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL DEFAULT 0,
	revoked_at BIGINT NOT NULL DEFAULT 0,

	PRIMARY KEY (tenant_id, key_id)
);

CREATE TABLE session (
	tenant_id  TEXT    NOT NULL PRIMARY KEY REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	device     TEXT    NOT NULL,
	lid        TEXT    NOT NULL,
	wanted     BOOLEAN NOT NULL,
	state      TEXT    NOT NULL,
	ready      BOOLEAN NOT NULL,
	reason     TEXT    NOT NULL,
	message    TEXT    NOT NULL,
	action     TEXT    NOT NULL,
	until_at   BIGINT  NOT NULL,
	paired_at  BIGINT  NOT NULL,
	updated_at BIGINT  NOT NULL
);

-- The tables below grow. They have no foreign key, which would cost a lookup for each row: a commit that moves the tenant's
-- head fails when the tenant is gone.

CREATE TABLE contact (
	tenant_id  TEXT   NOT NULL,
	contact_id TEXT   NOT NULL,
	name       TEXT   NOT NULL, -- in the account's address book
	push_name  TEXT   NOT NULL, -- as the person calls themselves
	updated_at BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, contact_id)
);

-- Hidden ids whose phone number is known. A phone number may have had several; the one learned last counts.
CREATE TABLE lid_map (
	tenant_id  TEXT   NOT NULL,
	lid        TEXT   NOT NULL,
	phone      TEXT   NOT NULL,
	learned_at BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, lid)
);

CREATE INDEX lid_map_phone ON lid_map (tenant_id, phone, learned_at);

CREATE TABLE chat (
	tenant_id    TEXT    NOT NULL,
	chat_id      TEXT    NOT NULL,
	kind         TEXT    NOT NULL,
	lid          TEXT    NOT NULL, -- the person's hidden id, if known
	given_name   TEXT    NOT NULL, -- what WhatsApp calls the chat
	name         TEXT    NOT NULL, -- what we show: address book, push name, given name, phone number
	folded       TEXT    NOT NULL, -- name and phone number in lower case, for searching
	unread       BIGINT  NOT NULL,
	archived     BOOLEAN NOT NULL,
	pinned       BOOLEAN NOT NULL,
	muted_until  BIGINT  NOT NULL,
	last_sent_at BIGINT  NOT NULL, -- names the newest message, together with last_ord
	last_ord     BIGINT  NOT NULL,
	activity     BIGINT  NOT NULL,
	created_at   BIGINT  NOT NULL,
	updated_at   BIGINT  NOT NULL,

	PRIMARY KEY (tenant_id, chat_id)
);

CREATE INDEX chat_activity ON chat (tenant_id, activity, chat_id);

-- A message id is unique for one sender in one chat. The sender comes last in the key, so that messages are found by id alone.
CREATE TABLE message (
	tenant_id     TEXT     NOT NULL,
	chat_id       TEXT     NOT NULL,
	message_id    TEXT     NOT NULL,
	sender_id     TEXT     NOT NULL,
	sender_hidden BOOLEAN  NOT NULL, -- the sender's phone number was not known yet
	sender_name   TEXT     NOT NULL,
	from_me       BOOLEAN  NOT NULL,
	sent_at       BIGINT   NOT NULL,
	ord           BIGINT   NOT NULL,
	kind          TEXT     NOT NULL,
	body          TEXT     NOT NULL,
	folded        TEXT, -- body in lower case, where the engine's own lower() could differ
	reply_to      TEXT     NOT NULL,
	mentions      TEXT     NOT NULL, -- JSON, or empty
	status        SMALLINT NOT NULL,
	edited_at     BIGINT   NOT NULL,
	deleted_at    BIGINT   NOT NULL,
	payload       bytea,

	PRIMARY KEY (tenant_id, chat_id, message_id, sender_id)
);

CREATE INDEX message_order ON message (tenant_id, chat_id, sent_at, ord);
CREATE INDEX message_pending ON message (tenant_id, ord) WHERE status = 0;
CREATE INDEX message_hidden_sender ON message (tenant_id, sender_id) WHERE sender_hidden;

CREATE TABLE journal (
	tenant_id  TEXT   NOT NULL,
	seq        BIGINT NOT NULL,
	kind       TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	data       TEXT   NOT NULL,

	PRIMARY KEY (tenant_id, seq)
-- only: postgres
);
-- only: sqlite
) WITHOUT ROWID;
