package relay

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow/proto/waWa6"
	"google.golang.org/protobuf/proto"
)

// noisePattern is exactly as long as a hash, and therefore not hashed.
const noisePattern = "Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"

var errHandshake = errors.New("noise handshake")

// noise is the server's side of Noise XX, from the client's hello to the keys of the transport.
type noise struct {
	hash    [32]byte
	chain   []byte
	aead    cipher.AEAD
	counter uint32
	eph     *ecdh.PrivateKey
}

func newNoise(prologue []byte) (*noise, error) {
	aead, err := newAEAD([]byte(noisePattern))
	if err != nil {
		return nil, err
	}
	n := &noise{hash: [32]byte([]byte(noisePattern)), chain: []byte(noisePattern), aead: aead}
	n.mixHash(prologue)
	return n, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, nil
}

// nonce puts the counter into the last four of twelve bytes.
func nonce(counter uint32) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[8:], counter)
	return iv
}

func (n *noise) mixHash(data []byte) {
	h := sha256.New()
	h.Write(n.hash[:])
	h.Write(data)
	h.Sum(n.hash[:0])
}

func expand(secret, salt []byte) (first, second []byte, err error) {
	out, err := hkdf.Key(sha256.New, secret, salt, "", 64)
	if err != nil {
		return nil, nil, fmt.Errorf("derive keys: %w", err)
	}
	return out[:32], out[32:], nil
}

// mixKey mixes a Diffie-Hellman secret into the key. Every mix starts the counter anew.
func (n *noise) mixKey(private *ecdh.PrivateKey, public []byte) error {
	pub, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("%w: public key: %w", errHandshake, err)
	}
	secret, err := private.ECDH(pub)
	if err != nil {
		return fmt.Errorf("%w: shared secret: %w", errHandshake, err)
	}
	chain, key, err := expand(secret, n.chain)
	if err != nil {
		return err
	}
	n.chain, n.counter = chain, 0
	n.aead, err = newAEAD(key)
	return err
}

func (n *noise) seal(plaintext []byte) []byte {
	out := n.aead.Seal(nil, nonce(n.counter), plaintext, n.hash[:])
	n.counter++
	n.mixHash(out)
	return out
}

func (n *noise) open(ciphertext []byte) ([]byte, error) {
	out, err := n.aead.Open(nil, nonce(n.counter), ciphertext, n.hash[:])
	if err != nil {
		return nil, fmt.Errorf("%w: decrypt: %w", errHandshake, err)
	}
	n.counter++
	n.mixHash(ciphertext)
	return out, nil
}

// hello answers the client's first message: our ephemeral and static key, and the certificates of the latter.
func (n *noise) hello(frame []byte, id *identity) ([]byte, error) {
	var msg waWa6.HandshakeMessage
	if err := proto.Unmarshal(frame, &msg); err != nil {
		return nil, fmt.Errorf("%w: client hello: %w", errHandshake, err)
	}
	theirs := msg.GetClientHello().GetEphemeral()
	if len(theirs) != 32 {
		return nil, fmt.Errorf("%w: client hello without a key of 32 bytes", errHandshake)
	}
	var err error
	if n.eph, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("make ephemeral key: %w", err)
	}
	n.mixHash(theirs)
	n.mixHash(n.eph.PublicKey().Bytes())
	if err = n.mixKey(n.eph, theirs); err != nil {
		return nil, err
	}
	static := n.seal(id.static.PublicKey().Bytes())
	if err = n.mixKey(id.static, theirs); err != nil {
		return nil, err
	}
	out, err := proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: n.eph.PublicKey().Bytes(),
		Static:    static,
		Payload:   n.seal(id.chain),
	}})
	if err != nil {
		return nil, fmt.Errorf("encode server hello: %w", err)
	}
	return out, nil
}

// finish takes the client's last message: who it is and what it wants.
func (n *noise) finish(frame []byte) (static [32]byte, p *waWa6.ClientPayload, err error) {
	var msg waWa6.HandshakeMessage
	if err = proto.Unmarshal(frame, &msg); err != nil {
		return static, nil, fmt.Errorf("%w: client finish: %w", errHandshake, err)
	}
	key, err := n.open(msg.GetClientFinish().GetStatic())
	if err != nil {
		return static, nil, err
	}
	if len(key) != 32 {
		return static, nil, fmt.Errorf("%w: static key of %d bytes", errHandshake, len(key))
	}
	if err = n.mixKey(n.eph, key); err != nil {
		return static, nil, err
	}
	raw, err := n.open(msg.GetClientFinish().GetPayload())
	if err != nil {
		return static, nil, err
	}
	p = new(waWa6.ClientPayload)
	if err = proto.Unmarshal(raw, p); err != nil {
		return static, nil, fmt.Errorf("%w: client payload: %w", errHandshake, err)
	}
	return [32]byte(key), p, nil
}

// split gives the ciphers of the transport: what the client writes, and what it reads.
func (n *noise) split() (in, out cipher.AEAD, err error) {
	first, second, err := expand(nil, n.chain)
	if err != nil {
		return nil, nil, err
	}
	if in, err = newAEAD(first); err != nil {
		return nil, nil, err
	}
	if out, err = newAEAD(second); err != nil {
		return nil, nil, err
	}
	return in, out, nil
}
