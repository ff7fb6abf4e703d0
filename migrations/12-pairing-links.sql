-- v11 -> v12 (compatible with v10+): Pairing links

-- Single-use links to the page on which a tenant's own customer links an account. A tenant has few: see the store's bound.
CREATE TABLE pairing_link (
	tenant_id  TEXT   NOT NULL,
	link_id    TEXT   NOT NULL,
	hash       BYTEA  NOT NULL, -- SHA-256 of the token's secret
	phone      TEXT   NOT NULL, -- digits; empty: the page asks for it
	return_url TEXT   NOT NULL, -- empty: none
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL DEFAULT 0,
	revoked_at BIGINT NOT NULL DEFAULT 0,

	PRIMARY KEY (tenant_id, link_id)
);
