package devicestore_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// TestADeviceTravelsToANodeWithAnotherMasterKey, from either engine to either.
func TestADeviceTravelsToANodeWithAnotherMasterKey(t *testing.T) {
	t.Parallel()
	for _, from := range tenanttest.Engines() {
		for _, to := range tenanttest.Engines() {
			t.Run(from.Name+"To"+to.Name, func(t *testing.T) {
				t.Parallel()
				source, target := setup(t, from), setup(t, to)
				id, jid := source.tenant(t), newJID()
				before := source.linked(t, id, jid)
				require.NoError(t, before.Identities.PutIdentity(t.Context(), "5511999990001.0:0", [32]byte{1, 2, 3}))
				require.NoError(t, source.store.FlushDevice(t.Context(), id))

				in, err := target.store.Import(t.Context(), id)
				require.NoError(t, err)
				devices := 0
				require.NoError(t, source.store.Export(t.Context(), id, func(rows tenant.Rows) error {
					leaving, err := source.devices.Leaving(t.Context(), id, rows)
					require.NoError(t, err)
					if !source.devices.Credentials(rows) {
						require.Equal(t, rows, leaving)
						return in.Put(t.Context(), leaving)
					}
					devices++
					require.NotEqual(t, rows, leaving)
					_, err = target.devices.Arriving(t.Context(), id, rows)
					require.ErrorIs(t, err, tenant.ErrForeignRows, "what did not leave cannot arrive")
					arriving, err := target.devices.Arriving(t.Context(), id, leaving)
					require.NoError(t, err)
					return in.Put(t.Context(), arriving)
				}))
				require.Equal(t, 1, devices)
				_, err = in.Finish(t.Context(), tenanttest.Stay)
				require.NoError(t, err)

				after, err := target.devices.Load(t.Context(), id, jid)
				require.NoError(t, err)
				require.Equal(t, before.NoiseKey, after.NoiseKey)
				require.Equal(t, before.IdentityKey, after.IdentityKey)
				trusted, err := after.Identities.IsTrustedIdentity(t.Context(), "5511999990001.0:0", [32]byte{3, 2, 1})
				require.NoError(t, err)
				require.False(t, trusted, "what was stored is known")
			})
		}
	}
}

func TestAKeyThatTheNodeDoesNotHaveCannotLeave(t *testing.T) {
	t.Parallel()
	b := setup(t, tenanttest.Engines()[0])
	id := b.tenant(t)
	b.linked(t, id, newJID())
	stranger := devicestore.New(b.store, b.store, ring(t, devicestore.NewMasterKey()), slog.New(slog.DiscardHandler))
	err := b.store.Export(t.Context(), id, func(rows tenant.Rows) error {
		_, err := stranger.Leaving(t.Context(), id, rows)
		return err
	})
	require.ErrorIs(t, err, devicestore.ErrUnknownMasterKey)
	for name, wrong := range map[string]tenant.Rows{
		"no key":     {Table: "device", Columns: []string{"tenant_id"}, Values: [][]any{{string(id)}}},
		"no bytes":   {Table: "device", Columns: []string{"master_key", "wrapped_key"}, Values: [][]any{{"", "x"}}},
		"no text":    {Table: "device", Columns: []string{"master_key", "wrapped_key"}, Values: [][]any{{int64(1), []byte{1}}}},
		"short":      {Table: "device", Columns: []string{"master_key", "wrapped_key"}, Values: [][]any{{""}}},
		"short key":  {Table: "device", Columns: []string{"master_key", "wrapped_key"}, Values: [][]any{{"", make([]byte, 31)}}},
		"still safe": {Table: "device", Columns: []string{"master_key", "wrapped_key"}, Values: [][]any{{"abc", make([]byte, 32)}}},
	} {
		_, err := b.devices.Arriving(t.Context(), id, wrong)
		require.ErrorIs(t, err, tenant.ErrForeignRows, name)
	}
}
