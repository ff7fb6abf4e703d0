-- v10 -> v11 (compatible with v10+): Limits of tenants, what counts against them, and what they lead to

-- What differs from the node's defaults. Names are those of the API.
CREATE TABLE limit_override (
	tenant_id TEXT   NOT NULL REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	name      TEXT   NOT NULL,
	value     BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, name)
);

-- What was taken of the budgets of a day, in days since 1970 (UTC). Written in the commit of the message that took it.
CREATE TABLE budget (
	tenant_id      TEXT   NOT NULL REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	day            BIGINT NOT NULL,
	upload_bytes   BIGINT NOT NULL,
	download_bytes BIGINT NOT NULL,

	PRIMARY KEY (tenant_id, day)
);

-- Chats in which the other side never wrote and we did, by day. A row counts however often it is written.
CREATE TABLE cold_chat (
	tenant_id TEXT   NOT NULL REFERENCES tenant (tenant_id) ON DELETE CASCADE,
	day       BIGINT NOT NULL,
	chat_id   TEXT   NOT NULL,

	PRIMARY KEY (tenant_id, day, chat_id)
);

-- Whether the other side wrote, also when that message is no longer kept.
ALTER TABLE chat ADD COLUMN heard BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE chat SET heard=TRUE WHERE EXISTS (
	SELECT 1 FROM message m WHERE m.tenant_id=chat.tenant_id AND m.chat_id=chat.chat_id AND NOT m.from_me);

-- About how many bytes of messages and events are kept.
ALTER TABLE head ADD COLUMN stored BIGINT NOT NULL DEFAULT 0;
UPDATE head SET stored=
	COALESCE((SELECT SUM(octet_length(m.body) + COALESCE(octet_length(m.payload), 0) + 400) FROM message m WHERE m.tenant_id=head.tenant_id), 0)
	+ COALESCE((SELECT SUM(octet_length(j.data) + 60) FROM journal j WHERE j.tenant_id=head.tenant_id), 0);

-- WhatsApp's reach-out time lock; 0 when there is none.
ALTER TABLE session ADD COLUMN reachout_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN reachout_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN reachout_cause TEXT NOT NULL DEFAULT '';
