package tenant

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// SealedVote is a vote as it travels: encrypted with the poll's secret for who asked and who votes, so that the poll is needed to
// read it. Both are written as WhatsApp's ids (JIDs), and each person has two of them: which ones were meant shows only in that
// the vote opens.
type SealedVote struct {
	Payload []byte `json:"payload"`
	IV      []byte `json:"iv"`
	// Authors and Voters are the ids that may be meant, the likeliest first. The store adds those that it knows.
	Authors []string `json:"authors,omitempty"`
	Voters  []string `json:"voters,omitempty"`
}

// pollVoteUse is WhatsApp's name for what the key is used for.
const pollVoteUse = "Poll Vote"

// fieldSelectedOptions is the only field of WhatsApp's PollVoteMessage.
const fieldSelectedOptions = 1

// maxIDForms bounds the ids that are tried for one person.
const maxIDForms = 8

// errVoteSecret says that a poll's secret is none.
var errVoteSecret = errors.New("the poll has no secret")

// SealVote encrypts a vote as its voter's client does.
func SealVote(poll MessageID, author, voter string, secret []byte, chosen [][]byte) (*SealedVote, error) {
	sealer, bound, err := voteCipher(poll, author, voter, secret)
	if err != nil {
		return nil, err
	}
	var plain []byte
	for _, hash := range chosen {
		plain = protowire.AppendTag(plain, fieldSelectedOptions, protowire.BytesType)
		plain = protowire.AppendBytes(plain, hash)
	}
	iv := make([]byte, sealer.NonceSize())
	_, _ = rand.Read(iv) // never fails
	return &SealedVote{Payload: sealer.Seal(nil, iv, plain, bound), IV: iv, Authors: []string{author}, Voters: []string{voter}}, nil
}

// Open decrypts the vote and returns the hashes of the chosen options. It tries all forms of the ids, those of the vote itself
// first. False if none of them opens it.
func (v *SealedVote) Open(poll MessageID, secret []byte, authors, voters []string) (chosen [][]byte, ok bool) {
	for _, author := range distinct(v.Authors, authors) {
		for _, voter := range distinct(v.Voters, voters) {
			opener, bound, err := voteCipher(poll, author, voter, secret)
			if err != nil || len(v.IV) != opener.NonceSize() {
				return nil, false
			}
			if plain, err := opener.Open(nil, v.IV, v.Payload, bound); err == nil {
				return selectedOptions(plain)
			}
		}
	}
	return nil, false
}

// distinct joins two lists of ids, without empty and repeated ones.
func distinct(first, second []string) []string {
	var all []string
	for _, id := range slices.Concat(first, second) {
		if id != "" && len(all) < maxIDForms && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// voteCipher is what a vote is encrypted with, and what it is bound to besides.
func voteCipher(poll MessageID, author, voter string, secret []byte) (sealer cipher.AEAD, bound []byte, err error) {
	if len(secret) == 0 {
		return nil, nil, errVoteSecret
	}
	key, err := hkdf.Key(sha256.New, secret, nil, string(poll)+author+voter+pollVoteUse, sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make cipher: %w", err)
	}
	if sealer, err = cipher.NewGCM(block); err != nil {
		return nil, nil, fmt.Errorf("make cipher: %w", err)
	}
	return sealer, []byte(string(poll) + "\x00" + voter), nil
}

// selectedOptions reads WhatsApp's PollVoteMessage.
func selectedOptions(raw []byte) (chosen [][]byte, ok bool) {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, false
		}
		raw = raw[n:]
		if number != fieldSelectedOptions || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
				return nil, false
			}
			raw = raw[n:]
			continue
		}
		hash, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			return nil, false
		}
		chosen, raw = append(chosen, hash), raw[n:]
	}
	return chosen, true
}

// WhatsAppID is the id as WhatsApp writes it.
func (id ChatID) WhatsAppID() string {
	if id.Phone() != "" {
		return id.User() + serverWhatsApp
	}
	return string(id)
}
