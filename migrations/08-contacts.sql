-- v7 -> v8 (compatible with v1+): Contacts in lists, and whom the account blocks
ALTER TABLE contact ADD COLUMN blocked BOOLEAN NOT NULL DEFAULT FALSE;
-- The names and the phone number in lower case, for searching.
ALTER TABLE contact ADD COLUMN folded TEXT NOT NULL DEFAULT '';
-- The name that is shown, in lower case and cut, for ordering: by bytes, so that both engines agree.
-- only: sqlite
ALTER TABLE contact ADD COLUMN sort_name TEXT NOT NULL DEFAULT '';
-- only: postgres
ALTER TABLE contact ADD COLUMN sort_name TEXT COLLATE "C" NOT NULL DEFAULT '';
-- lower() is the engine's own here: it may leave letters beyond ASCII as they are, until the contact changes.
UPDATE contact SET
	folded=lower(name || ' ' || push_name || ' ' || contact_id),
	sort_name=lower(substr(CASE WHEN name <> '' THEN name WHEN push_name <> '' THEN push_name ELSE contact_id END, 1, 200));
CREATE INDEX contact_order ON contact (tenant_id, sort_name, contact_id);
CREATE INDEX contact_blocked ON contact (tenant_id, contact_id) WHERE blocked;
