-- v5 -> v6 (compatible with v1+): Polls

-- JSON, or empty: the question, the options, the secret that opens votes, and one vote of each voter. Votes that were withdrawn
-- stay in it, without options, so that an older one cannot come back.
ALTER TABLE message ADD COLUMN poll TEXT NOT NULL DEFAULT '';
-- Somebody voted whose phone number was not known yet.
ALTER TABLE message ADD COLUMN poll_hidden BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX message_hidden_vote ON message (tenant_id) WHERE poll_hidden;
