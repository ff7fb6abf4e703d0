-- v1 -> v2 (compatible with v1+): What happens to messages afterwards

-- JSON, or empty. Reactions that were taken back stay in it, without an emoji, so that an older one cannot come back.
ALTER TABLE message ADD COLUMN reactions TEXT NOT NULL DEFAULT '';
-- Somebody reacted whose phone number was not known yet.
ALTER TABLE message ADD COLUMN reactions_hidden BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX message_hidden_reaction ON message (tenant_id) WHERE reactions_hidden;

-- Edits, deletions and reactions whose message has not come yet. Ids are as they came: they are resolved when they are read.
CREATE TABLE early (
	tenant_id  TEXT   NOT NULL,
	message_id TEXT   NOT NULL,
	chat_id    TEXT   NOT NULL,
	sender_id  TEXT   NOT NULL, -- of the message
	kind       TEXT   NOT NULL,
	by_id      TEXT   NOT NULL,
	at         BIGINT NOT NULL,
	body       TEXT   NOT NULL, -- the new text, or the emoji
	mentions   TEXT   NOT NULL, -- JSON, or empty
	created_at BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, message_id, chat_id, sender_id, kind, by_id)
);

CREATE INDEX early_age ON early (tenant_id, created_at);

-- How many of them there are: a message that comes looks for them only if there are any.
ALTER TABLE head ADD COLUMN early BIGINT NOT NULL DEFAULT 0;
