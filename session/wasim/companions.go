package wasim

import (
	"errors"
	"fmt"
	"net/http"

	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// NewCompanion asks for a device that is linked out of band, at POST /accounts/{phone}/companions: public keys instead of a pairing.
// Keys and signatures are base64.
type NewCompanion struct {
	DeviceKeys

	PreKeys []PreKey `json:"preKeys"` // with fewer than five, a client uploads more when it logs in

	// Primary makes the account if there is none: one whose phone has keys, but does not run.
	Primary *DeviceKeys `json:"primary,omitempty"`
	Name    string      `json:"name,omitempty"` // of the account
}

// DeviceKeys are the public keys of a device.
type DeviceKeys struct {
	NoiseKey       []byte       `json:"noiseKey"`
	IdentityKey    []byte       `json:"identityKey"`
	RegistrationID uint32       `json:"registrationId"`
	SignedPreKey   SignedPreKey `json:"signedPreKey"`
}

// SignedPreKey is signed by the identity key.
type SignedPreKey struct {
	ID        uint32 `json:"id"`
	Public    []byte `json:"public"`
	Signature []byte `json:"signature"`
}

// PreKey is a one-time key.
type PreKey struct {
	ID     uint32 `json:"id"`
	Public []byte `json:"public"`
}

// Companion is the answer: the addresses that the device logs in with.
type Companion struct {
	JID types.JID `json:"jid"`
	LID types.JID `json:"lid"`
}

var errKeySize = errors.New("a key has 32 bytes, a signature 64")

// RegisterCompanion links a device to the account of a number in digits, without a pairing. Errors as of
// [relay.Server.RegisterCompanion] and [relay.Server.Register].
func (s *Simulator) RegisterCompanion(number string, n NewCompanion) (Companion, error) {
	if n.Primary != nil {
		primary, err := n.Primary.decode()
		if err != nil {
			return Companion{}, fmt.Errorf("%w: primary: %w", relay.ErrInvalidAccount, err)
		}
		_, err = s.relay.Register(relay.Account{
			Phone: number, Name: n.Name, NoiseKey: primary.NoiseKey, IdentityKey: primary.IdentityKey,
			RegistrationID: primary.RegistrationID, SignedPreKey: primary.SignedPreKey,
		})
		if err != nil {
			return Companion{}, err
		}
	}
	c, err := n.decode()
	if err != nil {
		return Companion{}, fmt.Errorf("%w: %w", relay.ErrInvalidAccount, err)
	}
	for _, k := range n.PreKeys {
		if len(k.Public) != len(relay.PreKey{}.Public) {
			return Companion{}, fmt.Errorf("%w: prekey: %w", relay.ErrInvalidAccount, errKeySize)
		}
		c.PreKeys = append(c.PreKeys, relay.PreKey{ID: k.ID, Public: [32]byte(k.Public)})
	}
	jid, lid, err := s.relay.RegisterCompanion(number, c)
	return Companion{JID: jid, LID: lid}, err
}

func (k DeviceKeys) decode() (relay.Companion, error) {
	if len(k.NoiseKey) != 32 || len(k.IdentityKey) != 32 || len(k.SignedPreKey.Public) != 32 || len(k.SignedPreKey.Signature) != 64 {
		return relay.Companion{}, errKeySize
	}
	return relay.Companion{
		NoiseKey: [32]byte(k.NoiseKey), IdentityKey: [32]byte(k.IdentityKey), RegistrationID: k.RegistrationID,
		SignedPreKey: relay.SignedPreKey{
			ID: k.SignedPreKey.ID, Public: [32]byte(k.SignedPreKey.Public), Signature: [64]byte(k.SignedPreKey.Signature),
		},
	}, nil
}

func (s *Simulator) postCompanion(r *http.Request) (int, any, error) {
	number, err := phone.Number(r.PathValue("phone"))
	if err != nil {
		return 0, nil, err
	}
	var in NewCompanion
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	c, err := s.RegisterCompanion(number, in)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, c, nil
}
