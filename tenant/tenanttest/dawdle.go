package tenanttest

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Dawdle has the PostgreSQL server of a URL wait inside the COMMIT of whatever sets the trigger off ("UPDATE ON tenant"), if the row is so (a
// condition on NEW), until the connection that it returns is closed.
func Dawdle(t *testing.T, url, trigger, when string) *pgx.Conn {
	t.Helper()
	beside, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = beside.Exec(t.Context(), `
		CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS '
			BEGIN
				LOOP
					BEGIN
						PERFORM pg_advisory_xact_lock(1);
						RETURN NULL;
					EXCEPTION WHEN query_canceled THEN -- as pgx asks for when it loses a connection, but a COMMIT may be too far
					END;
				END LOOP;
			END';
		CREATE CONSTRAINT TRIGGER dawdle AFTER `+trigger+` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (`+when+`) EXECUTE FUNCTION dawdle();
		SELECT pg_advisory_lock(1)`)
	require.NoError(t, err)
	return beside
}
