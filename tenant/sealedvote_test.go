package tenant

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestAVoteOpensForTheRightIDsOnly(t *testing.T) {
	t.Parallel()
	const author, voter = "900000000000001@lid", "5511999990001@s.whatsapp.net"
	secret, chosen := bytes.Repeat([]byte{7}, 32), [][]byte{HashOption("a"), HashOption("b")}
	v, err := SealVote("P", author, voter, secret, chosen)
	require.NoError(t, err)
	open := func(v SealedVote, id MessageID, secret []byte, authors, voters []string) bool {
		v.Authors, v.Voters = authors, voters
		got, ok := v.Open(id, secret, nil, nil)
		if ok {
			require.Equal(t, chosen, got)
		}
		return ok
	}
	both := []string{"", voter, author, author}
	require.True(t, open(*v, "P", secret, both, both))
	require.True(t, open(*v, "P", secret, []string{author}, []string{voter}))
	require.False(t, open(*v, "P", secret, []string{voter}, []string{voter}))
	require.False(t, open(*v, "P", secret, []string{author}, []string{author}))
	require.False(t, open(*v, "Q", secret, both, both))
	require.False(t, open(*v, "P", secret[1:], both, both))
	require.False(t, open(*v, "P", nil, both, both))
	short := *v
	short.IV = v.IV[1:]
	require.False(t, open(short, "P", secret, both, both))
	empty, err := SealVote("P", author, voter, secret, nil)
	require.NoError(t, err)
	got, ok := empty.Open("P", secret, nil, nil)
	require.True(t, ok, "withdrawn")
	require.Empty(t, got)
	_, err = SealVote("P", author, voter, nil, nil)
	require.ErrorIs(t, err, errVoteSecret)
}

func FuzzSelectedOptions(f *testing.F) {
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, fieldSelectedOptions, protowire.BytesType), make([]byte, sha256.Size)))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 5))
	f.Add([]byte{0x0a, 0xff})
	poll := Poll{Multiple: true, Options: []PollOption{{Text: "a"}, {Text: "b"}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		chosen, ok := selectedOptions(raw)
		if !ok {
			return
		}
		for _, i := range poll.Choose(chosen) {
			require.Less(t, i, len(poll.Options))
		}
	})
}
