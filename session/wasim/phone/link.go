package phone

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

const (
	codeRounds   = 131072 // of PBKDF2, set by the protocol
	codeAlphabet = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
	saltSize     = 32
	ivSize       = aes.BlockSize
	wrappedSize  = saltSize + ivSize + 32
	bundleKey    = "link_code_pairing_key_bundle_encryption_key"
	linkTag      = "link_code_companion_reg"
	tagRef       = "link_code_pairing_ref"
)

// links are the stages of pairings by code that the server has told the phone; the newest of each stage counts.
type links struct {
	mu      sync.Mutex
	hello   *linkStage
	finish  *linkStage
	changed chan struct{}
}

type linkStage struct {
	ref       []byte
	wrapped   []byte // hello: the companion's ephemeral key; finish: its key bundle
	companion []byte // hello: its Noise key; finish: its identity
}

func newLinks() *links { return &links{changed: make(chan struct{})} }

func (l *links) add(n waBinary.Node) {
	bytesOf := func(tag string) []byte {
		b, _ := n.GetChildByTag(tag).Content.([]byte)
		return slices.Clone(b)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch n.AttrGetter().OptionalString("stage") {
	case "companion_hello":
		l.hello = &linkStage{
			ref:       bytesOf(tagRef),
			wrapped:   bytesOf("link_code_pairing_wrapped_companion_ephemeral_pub"),
			companion: bytesOf("companion_server_auth_key_pub"),
		}
	case "companion_finish":
		l.finish = &linkStage{
			ref:       bytesOf(tagRef),
			wrapped:   bytesOf("link_code_pairing_wrapped_key_bundle"),
			companion: bytesOf("companion_identity_public"),
		}
	default:
		return
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait waits for a stage that pick accepts.
func (l *links) wait(ctx context.Context, pick func() *linkStage) (*linkStage, error) {
	for {
		l.mu.Lock()
		stage, changed := pick(), l.changed
		l.mu.Unlock()
		if stage != nil {
			return stage, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// takeHello answers the newest request for a code, and forgets it: a code is tried once.
func (l *links) takeHello(ctx context.Context) (*linkStage, error) {
	return l.wait(ctx, func() *linkStage {
		h := l.hello
		l.hello = nil
		return h
	})
}

func (l *links) finishOf(ctx context.Context, ref []byte) (*linkStage, error) {
	return l.wait(ctx, func() *linkStage {
		if l.finish == nil || string(l.finish.ref) != string(ref) {
			return nil
		}
		return l.finish
	})
}

// Link links the companion that shows this pairing code ("ABCD-EFGH"; case and hyphen do not matter). If no companion
// has asked for this phone yet, it waits until ctx ends. It answers like [Phone.Scan]. Errors: ErrBadCode, ErrNoRequest,
// ErrRefused, ErrClosed, ErrUnlinked.
func (p *Phone) Link(ctx context.Context, code string) (uint16, error) {
	code, err := normalizeCode(code)
	if err != nil {
		return 0, err
	}
	ctx, cancel := p.own(ctx)
	defer cancel()
	hello, err := p.links.takeHello(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoRequest, err)
	}
	c, err := p.exchange(ctx, code, hello)
	for errors.Is(err, ErrRefused) { // the companion has asked anew, and shows its new code before the phone hears of it
		soon, cancel := context.WithTimeout(ctx, newerRequest)
		hello, late := p.links.takeHello(soon)
		cancel()
		if late != nil {
			break
		}
		c, err = p.exchange(ctx, code, hello)
	}
	if err != nil {
		return 0, err
	}
	return p.adopt(ctx, c)
}

// newerRequest is how long a phone whose request for a code is of the past waits for the one that took its place.
const newerRequest = 2 * time.Second

func normalizeCode(code string) (string, error) {
	code = strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(code), "-", ""))
	if len(code) != 8 || strings.Trim(code, codeAlphabet) != "" {
		return "", fmt.Errorf("%w: want 8 characters like ABCD-EFGH", ErrBadCode)
	}
	return code, nil
}

// exchange makes a shared secret with the companion, protected by the code against the server between them.
func (p *Phone) exchange(ctx context.Context, code string, hello *linkStage) (companion, error) {
	if len(hello.wrapped) != wrappedSize {
		return companion{}, fmt.Errorf("%w: ephemeral key of %d bytes", ErrRefused, len(hello.wrapped))
	}
	theirs, err := openWithCode(code, hello.wrapped)
	if err != nil {
		return companion{}, err
	}
	mine, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return companion{}, fmt.Errorf("make ephemeral key: %w", err)
	}
	wrapped, err := sealWithCode(code, mine.PublicKey().Bytes())
	if err != nil {
		return companion{}, err
	}
	own := p.cli.Store.IdentityKey
	_, err = p.iq(ctx, waBinary.Node{
		Tag:   linkTag,
		Attrs: waBinary.Attrs{"jid": p.companionPN(0), "stage": "primary_hello"},
		Content: []waBinary.Node{
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: wrapped},
			{Tag: "primary_identity_pub", Content: own.Pub[:]},
			{Tag: tagRef, Content: hello.ref},
		},
	})
	if err != nil {
		return companion{}, fmt.Errorf("answer the companion: %w", err)
	}
	finish, err := p.links.finishOf(ctx, hello.ref)
	if err != nil {
		return companion{}, fmt.Errorf("wait for the companion's keys: %w", err)
	}
	shared, err := agree(mine, theirs)
	if err != nil {
		return companion{}, fmt.Errorf("%w: %w", ErrBadCode, err)
	}
	identity, random, err := openBundle(shared, finish, own.Pub[:])
	if err != nil {
		return companion{}, err
	}
	priv, err := ecdh.X25519().NewPrivateKey(own.Priv[:])
	if err != nil {
		return companion{}, fmt.Errorf("identity key: %w", err)
	}
	sharedIdentity, err := agree(priv, identity)
	if err != nil {
		return companion{}, fmt.Errorf("%w: %w", ErrBadCode, err)
	}
	secret, err := hkdf.Key(sha256.New, slices.Concat(shared, sharedIdentity, random), nil, "adv_secret", 32)
	if err != nil {
		return companion{}, fmt.Errorf("derive secret: %w", err)
	}
	return companion{ref: hello.ref, noisePub: hello.companion, identity: [32]byte(identity), advSecret: secret}, nil
}

// openBundle decrypts the companion's identity, our own as the companion knows it, and 32 random bytes. With a wrong code
// both sides have come to different secrets, which shows here.
func openBundle(shared []byte, finish *linkStage, ownIdentity []byte) (identity, random []byte, err error) {
	const nonceSize = 12
	if len(finish.wrapped) < saltSize+nonceSize {
		return nil, nil, fmt.Errorf("%w: key bundle of %d bytes", ErrRefused, len(finish.wrapped))
	}
	salt, nonce, sealed := finish.wrapped[:saltSize], finish.wrapped[saltSize:saltSize+nonceSize], finish.wrapped[saltSize+nonceSize:]
	key, err := hkdf.Key(sha256.New, shared, salt, bundleKey, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	plain, err := aead.Open(nil, nonce, sealed, nil)
	if err != nil || len(plain) != 96 {
		return nil, nil, ErrBadCode
	}
	if subtle.ConstantTimeCompare(plain[:32], finish.companion) != 1 || subtle.ConstantTimeCompare(plain[32:64], ownIdentity) != 1 {
		return nil, nil, fmt.Errorf("%w: identities differ", ErrBadCode)
	}
	return plain[:32], plain[64:], nil
}

func agree(mine *ecdh.PrivateKey, theirs []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(theirs)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	shared, err := mine.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w", err)
	}
	return shared, nil
}

func codeStream(code string, salt, iv []byte) (cipher.Stream, error) {
	key, err := pbkdf2.Key(sha256.New, code, salt, codeRounds, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return cipher.NewCTR(block, iv), nil
}

func openWithCode(code string, wrapped []byte) ([]byte, error) {
	stream, err := codeStream(code, wrapped[:saltSize], wrapped[saltSize:saltSize+ivSize])
	if err != nil {
		return nil, err
	}
	plain := make([]byte, 32)
	stream.XORKeyStream(plain, wrapped[saltSize+ivSize:])
	return plain, nil
}

func sealWithCode(code string, pub []byte) ([]byte, error) {
	wrapped := make([]byte, wrappedSize)
	if _, err := rand.Read(wrapped[:saltSize+ivSize]); err != nil {
		return nil, fmt.Errorf("random: %w", err)
	}
	stream, err := codeStream(code, wrapped[:saltSize], wrapped[saltSize:saltSize+ivSize])
	if err != nil {
		return nil, err
	}
	stream.XORKeyStream(wrapped[saltSize+ivSize:], pub)
	return wrapped, nil
}
