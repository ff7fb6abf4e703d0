-- v12 -> v13 (compatible with v13+): Keys and ratchets of devices
-- Not compatible with older versions: they would look for the devices elsewhere, and take all sessions for logged out.

-- The device that is linked, and the key of the rows below: encrypted by a master key, which lies elsewhere. Without this row the
-- others are noise.
CREATE TABLE device (
	tenant_id   TEXT  NOT NULL PRIMARY KEY,
	jid         TEXT  NOT NULL,
	master_key  TEXT  NOT NULL, -- which of the master keys
	wrapped_key bytea NOT NULL,
	value       bytea NOT NULL  -- the device's credentials, encrypted
);

-- What a device keeps: see package session/devicestore for the kinds. Values are encrypted.
CREATE TABLE device_row (
	tenant_id TEXT     NOT NULL,
	kind      SMALLINT NOT NULL,
	row_key   bytea    NOT NULL,
	value     bytea    NOT NULL,
	at        BIGINT   NOT NULL, -- when a row that ages was made; 0 for those that do not

	PRIMARY KEY (tenant_id, kind, row_key)
-- only: sqlite
);
-- only: postgres
) WITH (fillfactor=75, toast_tuple_target=8160);

-- only: postgres
ALTER TABLE device_row ALTER COLUMN value SET STORAGE EXTERNAL; -- ciphertext cannot be compressed: do not try

CREATE INDEX device_row_age ON device_row (tenant_id, kind, at) WHERE at > 0;
