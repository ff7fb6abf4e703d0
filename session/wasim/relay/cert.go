package relay

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow/proto/waCert"
	"google.golang.org/protobuf/proto"
)

const certLifetime = 10 * 365 * 24 * time.Hour

// processRoot is the private root key of this process. Clients keep the root they trust in a global of their library, therefore there can be
// only one per process, however many relays.
//
//nolint:gochecknoglobals // the library's trust root is a process global, and this is its other half
var processRoot = sync.OnceValues(func() ([32]byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return [32]byte{}, fmt.Errorf("make root key: %w", err)
	}
	return [32]byte(key.Bytes()), nil
})

// identity is what the relay proves itself with in the Noise handshake.
type identity struct {
	static *ecdh.PrivateKey
	chain  []byte // marshalled CertChain for static
	root   [32]byte
}

func newIdentity(root *[32]byte) (*identity, error) {
	if root == nil {
		key, err := processRoot()
		if err != nil {
			return nil, err
		}
		root = &key
	}
	rootKey, err := ecdh.X25519().NewPrivateKey(root[:])
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	intermediate, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make intermediate key: %w", err)
	}
	static, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make static key: %w", err)
	}
	const serial = 1
	mid, err := noiseCert(serial, 0, intermediate.PublicKey().Bytes(), *root)
	if err != nil {
		return nil, err
	}
	leafCert, err := noiseCert(serial+1, serial, static.PublicKey().Bytes(), [32]byte(intermediate.Bytes()))
	if err != nil {
		return nil, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Leaf: leafCert, Intermediate: mid})
	if err != nil {
		return nil, fmt.Errorf("encode certificate chain: %w", err)
	}
	return &identity{static: static, chain: chain, root: [32]byte(rootKey.PublicKey().Bytes())}, nil
}

func noiseCert(serial, issuer uint32, key []byte, signer [32]byte) (*waCert.CertChain_NoiseCertificate, error) {
	now := time.Now()
	details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
		Serial:       &serial,
		IssuerSerial: &issuer,
		Key:          key,
		NotBefore:    new(seconds(now.Add(-24 * time.Hour))), // clients without the bounds take them for 1970
		NotAfter:     new(seconds(now.Add(certLifetime))),
	})
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(signer), details)
	return &waCert.CertChain_NoiseCertificate{Details: details, Signature: sig[:]}, nil
}

func seconds(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }

// authority is the relay's own CA and the one certificate it issues.
type authority struct {
	pem  []byte
	cert tls.Certificate
}

func newAuthority(mediaHost string) (*authority, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "simulated WhatsApp CA"},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(certLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign CA certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	leafCert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "web.whatsapp.com"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(certLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"web.whatsapp.com", "mmg.whatsapp.net", MediaHost, mediaHost, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, leafCert, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign TLS certificate: %w", err)
	}
	return &authority{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		cert: tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key},
	}, nil
}
