package relay

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"go.mau.fi/whatsmeow/proto/waServerSync"
	"google.golang.org/protobuf/proto"
)

const (
	snapshotInfo = "WhatsApp App State Keys"
	mediaMACSize = 10
)

// storeSnapshot encrypts a snapshot as a file of the kind that clients download, with a key of its own.
func (s *Server) storeSnapshot(data *waServerSync.SyncdSnapshot) (snapshot, error) {
	plain, err := proto.Marshal(data)
	if err != nil {
		return snapshot{}, fmt.Errorf("encode snapshot: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	sealed, err := sealMedia(key, plain, snapshotInfo)
	if err != nil {
		return snapshot{}, err
	}
	ref := s.blobs.put(sealed)
	sum, sealedSum := sha256.Sum256(plain), sha256.Sum256(sealed)
	reference, err := proto.Marshal(&waServerSync.ExternalBlobReference{
		MediaKey: key, DirectPath: new(ref.path("app-state")), Handle: new(ref.key), FileSizeBytes: new(uint64(len(plain))),
		FileSHA256: sum[:], FileEncSHA256: sealedSum[:],
	})
	if err != nil {
		return snapshot{}, fmt.Errorf("encode reference of snapshot: %w", err)
	}
	return snapshot{ref: ref, reference: reference}, nil
}

// sealMedia is the encryption of files: AES-CBC, and behind it the first bytes of a MAC.
func sealMedia(key, plain []byte, info string) ([]byte, error) {
	keys, err := hkdf.Key(sha256.New, key, nil, info, 112)
	if err != nil {
		return nil, fmt.Errorf("derive media keys: %w", err)
	}
	iv, cipherKey, macKey := keys[:16], keys[16:48], keys[48:80]
	block, err := aes.NewCipher(cipherKey)
	if err != nil {
		return nil, fmt.Errorf("media cipher: %w", err)
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	mac := hmac.New(sha256.New, macKey)
	mac.Write(iv)
	mac.Write(padded)
	return append(padded, mac.Sum(nil)[:mediaMACSize]...), nil
}
