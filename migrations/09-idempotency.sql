-- v8 -> v9 (compatible with v1+): Idempotency keys of requests that send

-- Stored with the message that the request sent, in one commit. The message is named as it was then: chats that became one since
-- are resolved when it is read.
CREATE TABLE idempotency (
	tenant_id  TEXT   NOT NULL,
	idem_key   TEXT   NOT NULL,
	request    bytea  NOT NULL, -- SHA-256 of the request
	chat_id    TEXT   NOT NULL,
	message_id TEXT   NOT NULL,
	sender_id  TEXT   NOT NULL,
	created_at BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, idem_key)
);

CREATE INDEX idempotency_age ON idempotency (tenant_id, created_at);
