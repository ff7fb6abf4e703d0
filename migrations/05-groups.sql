-- v4 -> v5 (compatible with v1+): Groups

-- What WhatsApp says of a group. A row outlives its chat, which may be deleted here while the account stays in the group.
CREATE TABLE group_info (
	tenant_id      TEXT    NOT NULL,
	chat_id        TEXT    NOT NULL,
	subject        TEXT    NOT NULL,
	named_at       BIGINT  NOT NULL,
	description    TEXT    NOT NULL,
	description_id TEXT    NOT NULL,
	described_at   BIGINT  NOT NULL,
	owner_id       TEXT    NOT NULL,
	announce       BOOLEAN NOT NULL,
	locked         BOOLEAN NOT NULL,
	join_approval  BOOLEAN NOT NULL,
	admins_add     BOOLEAN NOT NULL,
	set_at         BIGINT  NOT NULL,
	picture_id     TEXT    NOT NULL,
	pictured_at    BIGINT  NOT NULL,
	own_role       TEXT    NOT NULL, -- empty: the account is no member
	size           BIGINT  NOT NULL,
	version        TEXT    NOT NULL, -- WhatsApp's, of the participants
	digest         TEXT    NOT NULL, -- of what WhatsApp said last; empty after any other change
	rev            BIGINT  NOT NULL, -- grows with each change
	updated_at     BIGINT  NOT NULL,

	PRIMARY KEY (tenant_id, chat_id)
);

CREATE TABLE participant (
	tenant_id TEXT NOT NULL,
	chat_id   TEXT NOT NULL,
	person_id TEXT NOT NULL,
	lid       TEXT NOT NULL, -- the person's hidden id, if known
	role      TEXT NOT NULL,

	PRIMARY KEY (tenant_id, chat_id, person_id)
);

CREATE INDEX participant_person ON participant (tenant_id, person_id);
CREATE INDEX group_info_owner ON group_info (tenant_id, owner_id);
