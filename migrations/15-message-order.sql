-- v14 -> v15 (compatible with v13+): A message is looked up by its key

-- Both indexes began as the primary key does, with tenant and chat. PostgreSQL takes these two for nearly unique, so that it looked single
-- messages up in the smaller index, and read the whole chat each time. What goes through a chat in its order names tenant and chat as
-- one, so that nothing else fits.
DROP INDEX message_order;
CREATE INDEX message_order ON message ((tenant_id || '/' || chat_id), sent_at, ord);
DROP INDEX message_file;
CREATE INDEX message_file ON message ((tenant_id || '/' || chat_id), sent_at, ord, kind) WHERE media <> '';
