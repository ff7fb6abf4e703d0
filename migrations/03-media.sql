-- v2 -> v3 (compatible with v1+): Files of messages

ALTER TABLE message ADD COLUMN media TEXT NOT NULL DEFAULT ''; -- JSON, or empty
