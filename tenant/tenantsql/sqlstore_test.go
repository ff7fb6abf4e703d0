package tenantsql_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// deviceStore is whatsmeow's own store in the database of ours.
func deviceStore(store *tenantsql.Store) *sqlstore.Container {
	return sqlstore.NewWithWrappedDB(store.Database().Child("whatsmeow_version", upgrades.Table, dbutil.NoopLogger), nil)
}

func TestSQLStoreLivesBesideUs(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			url := engine.URL(t)
			var starts errgroup.Group
			for range 4 {
				store, err := tenantsql.Open(t.Context(), tenantsql.Config{URL: url})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, store.Close()) })
				starts.Go(func() error { return store.Migrate(t.Context(), deviceStore(store).Upgrade) })
			}
			require.NoError(t, starts.Wait())

			store := tenanttest.Open(t, tenantsql.Config{URL: url})
			container := deviceStore(store)
			var group errgroup.Group
			slowest := make([]time.Duration, 20)
			for w := range 20 {
				h := tenanttest.NewTenant(t, store)
				group.Go(func() error {
					for n := range 20 {
						start := time.Now()
						if _, err := h.Commit(t.Context(), message(strconv.Itoa(n))); err != nil {
							return fmt.Errorf("our commit: %w", err)
						}
						slowest[w] = max(slowest[w], time.Since(start))
					}
					return nil
				})
				group.Go(func() error {
					device := container.NewDevice()
					jid := types.NewJID(strconv.Itoa(5511000000000+w), types.DefaultUserServer)
					device.ID = &jid
					device.Account = &waAdv.ADVSignedDeviceIdentity{
						Details: []byte{1}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32),
						DeviceSignature: make([]byte, 64),
					}
					if err := container.PutDevice(t.Context(), device); err != nil {
						return fmt.Errorf("put device: %w", err)
					}
					for n := range 20 {
						err := device.Identities.PutIdentity(t.Context(), strconv.Itoa(n), [32]byte{1})
						if err != nil {
							return fmt.Errorf("single statement: %w", err)
						}
						err = store.Database().DoTxn(t.Context(), nil, func(ctx context.Context) error {
							if err := device.Sessions.PutSession(ctx, strconv.Itoa(n), []byte("session")); err != nil {
								return err
							}
							_, err := device.Sessions.GetSession(ctx, strconv.Itoa(n))
							return err
						})
						if err != nil {
							return fmt.Errorf("transaction: %w", err)
						}
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			var worst time.Duration
			for _, d := range slowest {
				worst = max(worst, d)
			}
			t.Log("slowest commit of ours beside 20 devices that write all the time:", worst)
		})
	}
}
