-- v3 -> v4 (compatible with v1+): The node that may write

-- One row. Each node that takes the database moves epoch, and every commit asks for the epoch it belongs to.
CREATE TABLE node (
	id         SMALLINT NOT NULL PRIMARY KEY CHECK (id = 1),
	epoch      BIGINT   NOT NULL,
	holder     TEXT     NOT NULL, -- host and process, for people
	claimed_at BIGINT   NOT NULL,
	seen_at    BIGINT   NOT NULL  -- of the last commit
);

INSERT INTO node (id, epoch, holder, claimed_at, seen_at) VALUES (1, 0, '', 0, 0);
