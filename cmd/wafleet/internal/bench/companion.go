package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/session/wasim"
)

// preKeysEach is how many one-time keys a device has. whatsmeow uploads more at a login with fewer than five, here or there;
// a new contact uses one up.
const preKeysEach = 12

// adopt gives a new device an account's signature such as pairing would have brought. It returns the keys of the account's
// phone, which nobody will use again.
func adopt(dev *store.Device) (primary wasim.DeviceKeys, err error) {
	phone := keys.NewKeyPair()
	dev.Platform, dev.PushName = "android", "Bench"
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: &dev.RegistrationID, Timestamp: new(uint64(time.Now().Unix())), KeyIndex: proto.Uint32(1), //nolint:gosec // now
	})
	if err != nil {
		return primary, fmt.Errorf("device identity: %w", err)
	}
	byAccount := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*phone.Priv), join([]byte{6, 0}, details, dev.IdentityKey.Pub[:]))
	byDevice := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*dev.IdentityKey.Priv),
		join([]byte{6, 1}, details, dev.IdentityKey.Pub[:], phone.Pub[:]))
	dev.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: phone.Pub[:], AccountSignature: byAccount[:], DeviceSignature: byDevice[:],
	}
	return deviceKeys(phone, phone, phone.CreateSignedPreKey(1), 1), nil
}

func deviceKeys(noise, identity *keys.KeyPair, signed *keys.PreKey, registration uint32) wasim.DeviceKeys {
	return wasim.DeviceKeys{
		NoiseKey: noise.Pub[:], IdentityKey: identity.Pub[:], RegistrationID: registration,
		SignedPreKey: wasim.SignedPreKey{ID: signed.KeyID, Public: signed.Pub[:], Signature: signed.Signature[:]},
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// link makes a device known to the simulator, without a pairing, and tells the device who it is.
func link(ctx context.Context, control, number string, dev *store.Device, primary wasim.DeviceKeys, prekeys []*keys.PreKey) error {
	n := wasim.NewCompanion{
		DeviceKeys: deviceKeys(dev.NoiseKey, dev.IdentityKey, dev.SignedPreKey, dev.RegistrationID), Primary: &primary, Name: dev.PushName,
	}
	for _, k := range prekeys {
		n.PreKeys = append(n.PreKeys, wasim.PreKey{ID: k.KeyID, Public: k.Pub[:]})
	}
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("companion: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, control+"/accounts/"+number+"/companions", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("companion: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("register companion: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("register companion: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("register companion: %s: %s", resp.Status, answer)
	}
	var c wasim.Companion
	if err = json.Unmarshal(answer, &c); err != nil {
		return fmt.Errorf("register companion: %w", err)
	}
	dev.ID, dev.LID = &c.JID, c.LID
	return nil
}
