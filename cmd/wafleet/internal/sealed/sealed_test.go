package sealed_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/sealed"
)

const passphrase = "correct horse battery"

func seal(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := sealed.Create(&out, passphrase)
	require.NoError(t, err)
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestOnlyThePassphraseOpens(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("ratchets ", 20_000) // several chunks
	file := seal(t, text)
	require.NotContains(t, string(file), "ratchets")
	r, err := sealed.Open(bytes.NewReader(file), passphrase)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, text, string(got))

	_, err = sealed.Open(bytes.NewReader(file), "another passphrase")
	require.ErrorIs(t, err, sealed.ErrPassphrase)
	_, err = sealed.Open(strings.NewReader("wafleet tenant 1\n"), passphrase)
	require.ErrorIs(t, err, sealed.ErrNotSealed)
	r, err = sealed.Open(bytes.NewReader(file[:len(file)-1]), passphrase)
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.Error(t, err, "cut off")
}

func TestPassphrasesComeFromFiles(t *testing.T) {
	t.Parallel()
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "passphrase")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	got, err := sealed.Passphrase(write(passphrase+"\r\nmore"), true)
	require.NoError(t, err)
	require.Equal(t, passphrase, got)
	_, err = sealed.Passphrase(write("short\n"), true)
	require.ErrorContains(t, err, "shorter than 12")
	got, err = sealed.Passphrase(write("short\n"), false)
	require.NoError(t, err, "whatever opened it once")
	require.Equal(t, "short", got)
	_, err = sealed.Passphrase(write(""), false)
	require.ErrorContains(t, err, "empty")
	_, err = sealed.Passphrase(filepath.Join(t.TempDir(), "none"), false)
	require.ErrorIs(t, err, os.ErrNotExist)
}
