package tenantsql_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestWhatFindsNoRoomOnTheDiskIsKnownNotToBeStored(t *testing.T) {
	t.Parallel()
	disk := tenanttest.NewDisk(t)
	store := tenanttest.Open(t, tenantsql.Config{URL: "sqlite:" + filepath.Join(disk.Dir, "wafleet.db")})
	h := tenanttest.NewTenant(t, store)
	var stored, refused int
	for range 2 {
		disk.Fill()
		for range 4 * 1024 { // more than a page each
			m, _ := message(strconv.Itoa(stored)).(tenant.PutMessage)
			m.Message.Text = strings.Repeat("x", 4<<10)
			_, err := h.Commit(t.Context(), m)
			if err != nil {
				require.ErrorIs(t, err, tenant.ErrUnavailable)
				require.NotErrorIs(t, err, tenant.ErrOutcomeUnknown)
				refused++
				break
			}
			stored++
		}
		disk.Empty()
		result, err := h.Commit(t.Context(), message(strconv.Itoa(stored)))
		require.NoError(t, err)
		require.Equal(t, []bool{true}, result.Fresh, "it was not stored")
		stored++
	}
	require.Equal(t, 2, refused)
}
