package phone

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// companionTime bounds what follows the phone's part of a pairing: the companion's signature and its first sync.
const companionTime = 2 * time.Minute

// companion is what a phone learns from a companion's QR or pairing code.
type companion struct {
	ref       []byte
	noisePub  []byte
	identity  [32]byte
	advSecret []byte
}

// parseQR reads the text of a pairing QR: [anything#]ref,noise,identity,secret[,platform]. Error: ErrBadQR.
func parseQR(text string) (companion, error) {
	if _, after, ok := strings.Cut(text, "#"); ok {
		text = after
	}
	parts := strings.Split(strings.TrimSpace(text), ",")
	if len(parts) < 4 || parts[0] == "" {
		return companion{}, fmt.Errorf("%w: want ref, two keys and a secret", ErrBadQR)
	}
	var keys [3][]byte
	for i := range keys {
		key, err := base64.StdEncoding.DecodeString(parts[i+1])
		if err != nil || len(key) != 32 {
			return companion{}, fmt.Errorf("%w: part %d is not a key", ErrBadQR, i+2)
		}
		keys[i] = key
	}
	return companion{ref: []byte(parts[0]), noisePub: keys[0], identity: [32]byte(keys[1]), advSecret: keys[2]}, nil
}

// Scan links the companion whose QR this is. It answers the new device's id once the companion has confirmed; the first
// sync goes on in the background. Errors: ErrBadQR, ErrRefused, ErrClosed, ErrUnlinked.
func (p *Phone) Scan(ctx context.Context, qr string) (uint16, error) {
	c, err := parseQR(qr)
	if err != nil {
		return 0, err
	}
	return p.adopt(ctx, c)
}

// adopt signs the companion's identity, hands it to the server, and waits for the companion to appear.
func (p *Phone) adopt(ctx context.Context, c companion) (uint16, error) {
	ctx, cancel := p.own(ctx)
	defer cancel()
	if err := p.WaitOnline(ctx); err != nil {
		return 0, err
	}
	identity, err := p.sign(c)
	if err != nil {
		return 0, err
	}
	answer, err := p.iq(ctx, waBinary.Node{Tag: "pair-device", Content: []waBinary.Node{
		{Tag: "ref", Content: c.ref},
		{Tag: "pub-key", Content: c.noisePub},
		{Tag: "device-identity", Content: identity},
	}})
	if err != nil {
		return 0, fmt.Errorf("hand the companion to the server: %w", err)
	}
	dev := answer.GetChildByTag("device")
	jid := dev.AttrGetter().OptionalJIDOrEmpty("jid")
	if jid.IsEmpty() || jid.Device == 0 {
		return 0, fmt.Errorf("%w: the answer names no device", ErrRefused)
	}
	p.inBackground(func(ctx context.Context) { //nolint:contextcheck // the sync goes on when the caller has left
		if err := p.firstSync(ctx, jid.Device); err != nil && p.ctx.Err() == nil {
			p.cfg.Log.WarnContext(ctx, "first sync failed", "device", jid.Device, "error", redactText(err.Error()))
		}
	})
	if err = p.devices.wait(ctx, jid.Device); err != nil {
		return 0, fmt.Errorf("wait for the companion to confirm: %w", err)
	}
	return jid.Device, nil
}

// inBackground runs work that the phone owns.
func (p *Phone) inBackground(work func(ctx context.Context)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil { // Close waits already
		return
	}
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, companionTime)
		defer cancel()
		work(ctx)
	})
}

// iq sends a request to the pairing service. Error: ErrRefused.
func (p *Phone) iq(ctx context.Context, request waBinary.Node) (*waBinary.Node, error) {
	answer, err := p.inner().SendIQ(ctx, whatsmeow.DangerousInfoQuery{
		Namespace: "md", Type: "set", To: types.ServerJID, Content: []waBinary.Node{request}, Timeout: p.cfg.SendTimeout,
	})
	var refused *whatsmeow.IQError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%w: %d %s", ErrRefused, refused.Code, refused.Text)
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	return answer, nil
}

// sign makes the companion's identity: signed by the account's key, and authenticated with the secret that only the
// companion and whoever saw its QR know.
func (p *Phone) sign(c companion) ([]byte, error) {
	dev := p.cli.Store
	details, err := proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID:       new(dev.RegistrationID),
		Timestamp:   new(uint64(time.Now().Unix())), //nolint:gosec // not before 1970
		KeyIndex:    new(p.devices.nextKeyIndex()),
		AccountType: waAdv.ADVEncryptionType_E2EE.Enum(),
		DeviceType:  waAdv.ADVEncryptionType_E2EE.Enum(),
	})
	if err != nil {
		return nil, fmt.Errorf("marshal identity: %w", err)
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*dev.IdentityKey.Priv),
		slices.Concat(whatsmeow.AdvAccountSignaturePrefix, details, c.identity[:]))
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: dev.IdentityKey.Pub[:], AccountSignature: signature[:],
	})
	if err != nil {
		return nil, fmt.Errorf("marshal identity: %w", err)
	}
	mac := hmac.New(sha256.New, c.advSecret)
	mac.Write(signed)
	identity, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	if err != nil {
		return nil, fmt.Errorf("marshal identity: %w", err)
	}
	return identity, nil
}
