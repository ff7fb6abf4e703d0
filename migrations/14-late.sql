-- v13 -> v14 (compatible with v13+): What comes late, or in another order

-- False: the message was stored as history, and the journal has not told of it.
ALTER TABLE message ADD COLUMN told BOOLEAN NOT NULL DEFAULT TRUE;

-- Up to when the account has read the chat. What is older and comes later is not unread.
ALTER TABLE chat ADD COLUMN read_until BIGINT NOT NULL DEFAULT 0;
