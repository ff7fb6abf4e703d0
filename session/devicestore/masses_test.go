package devicestore_test

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
)

// weighed is a store that notes the most rows that a device had for one commit. It is for one goroutine at a time.
type weighed struct {
	tenant.DeviceStore

	most *int
}

func (w weighed) RideDevice(id tenant.ID, rider tenant.DeviceRider) (leave func()) {
	return w.DeviceStore.RideDevice(id, weighedRider{rider, w.most})
}

type weighedRider struct {
	tenant.DeviceRider

	most *int
}

func (r weighedRider) Board(settled []tenant.EventHash, whole bool) (rows []tenant.DeviceRow, landed func()) {
	rows, landed = r.DeviceRider.Board(settled, whole)
	*r.most = max(*r.most, len(rows))
	return rows, landed
}

// TestAHistoryIsNoOnesBurden: what a phone's history brings is as much as the phone likes, and everybody's commits wait behind it.
func TestAHistoryIsNoOnesBurden(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		const all, atOnce = 1300, 500
		most := 0
		b.devices = devicestore.New(weighed{b.store, &most}, b.store, ring(t, devicestore.NewMasterKey()), slog.New(slog.DiscardHandler))
		dev := b.linked(t, b.tenant(t), newJID())
		them := types.JID{User: "5531900000001", Server: types.DefaultUserServer}
		secrets := make([]store.MessageSecretInsert, all)
		tokens := make([]store.PrivacyToken, all)
		for i := range all {
			secrets[i] = store.MessageSecretInsert{Chat: them, Sender: them, ID: strconv.Itoa(i), Secret: []byte("secret")}
			who := types.JID{User: strconv.Itoa(5531900000000 + i), Server: types.DefaultUserServer}
			tokens[i] = store.PrivacyToken{User: who, Token: []byte("token"), Timestamp: time.Unix(1_790_000_000, 0)}
		}
		require.NoError(t, dev.MsgSecrets.PutMessageSecrets(t.Context(), secrets))
		require.Equal(t, atOnce, most)
		most = 0
		require.NoError(t, dev.PrivacyTokens.PutPrivacyTokens(t.Context(), tokens...))
		require.Equal(t, atOnce, most)
		secret, _, err := dev.MsgSecrets.GetMessageSecret(t.Context(), them, them, strconv.Itoa(all-1))
		require.NoError(t, err)
		require.Equal(t, "secret", string(secret))
	})
}
