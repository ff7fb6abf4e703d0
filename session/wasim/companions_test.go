package wasim_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/util/keys"

	"github.com/wafleet/wafleet/session/wasim"
)

func newDeviceKeys() wasim.DeviceKeys {
	identity := keys.NewKeyPair()
	signed := identity.CreateSignedPreKey(1)
	return wasim.DeviceKeys{
		NoiseKey: keys.NewKeyPair().Pub[:], IdentityKey: identity.Pub[:], RegistrationID: 7,
		SignedPreKey: wasim.SignedPreKey{ID: 1, Public: signed.Pub[:], Signature: signed.Signature[:]},
	}
}

// TestLinkingOutOfBand links devices over the control API to an account whose phone does not run.
func TestLinkingOutOfBand(t *testing.T) {
	t.Parallel()
	sim, number := startSim(t), number()
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(body any) (status int, answer map[string]string) {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sim.ControlURL()+"/accounts/+"+number+"/companions", bytes.NewReader(raw))
		require.NoError(t, err)
		resp, err := web.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
		return resp.StatusCode, answer
	}

	n := wasim.NewCompanion{DeviceKeys: newDeviceKeys(), PreKeys: []wasim.PreKey{{ID: 1, Public: keys.NewKeyPair().Pub[:]}}}
	status, answer := post(n)
	require.Equal(t, http.StatusNotFound, status, "nobody has this number yet: %v", answer)

	primary := newDeviceKeys()
	n.Primary = &primary
	status, answer = post(n)
	require.Equal(t, http.StatusCreated, status, "%v", answer)
	require.Equal(t, number+":1@s.whatsapp.net", answer["jid"])
	require.Regexp(t, `^\d{15}:1@lid$`, answer["lid"])
	devices, err := sim.Relay().Devices(number)
	require.NoError(t, err)
	require.Len(t, devices, 2)
	require.Equal(t, 1, devices[1].PreKeys)

	n.Primary = nil
	status, _ = post(n)
	require.Equal(t, http.StatusCreated, status, "the same device again")
	second := wasim.NewCompanion{DeviceKeys: newDeviceKeys()}
	_, answer = post(second)
	require.Equal(t, number+":2@s.whatsapp.net", answer["jid"])

	second.NoiseKey = second.NoiseKey[1:]
	status, answer = post(second)
	require.Equal(t, http.StatusBadRequest, status)
	require.Equal(t, "BAD_ACCOUNT", answer["code"])
	other := newDeviceKeys()
	n.Primary = &other
	status, answer = post(n)
	require.Equal(t, http.StatusConflict, status)
	require.Equal(t, "ACCOUNT_EXISTS", answer["code"])
}
