-- v6 -> v7 (compatible with v1+): Places, contact cards, the mark of what was forwarded; lists of files; join URLs

ALTER TABLE message ADD COLUMN content TEXT NOT NULL DEFAULT ''; -- JSON, or empty

-- kind comes last: a list of all files is read in its order, one of pictures skips the others without looking at the messages.
CREATE INDEX message_file ON message (tenant_id, chat_id, sent_at, ord, kind) WHERE media <> '';

-- Addresses under which people without an API key join groups.
CREATE TABLE join_url (
	tenant_id  TEXT   NOT NULL REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	chat_id    TEXT   NOT NULL,
	token      TEXT   NOT NULL,
	created_at BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, chat_id)
);

CREATE UNIQUE INDEX join_url_token ON join_url (tenant_id, token);
