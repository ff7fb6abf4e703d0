package console

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	t.Parallel()
	first := english()
	for _, w := range newDictionary().texts {
		v := reflect.ValueOf(*w)
		for i := range v.NumField() {
			require.False(t, v.Field(i).IsZero(), "%s: %s", w.Name, v.Type().Field(i).Name)
		}
		for _, list := range [][]string{w.StepNames[:], w.QRSteps[:], w.CodeSteps[:]} {
			require.NotContains(t, list, "", w.Name)
		}
		require.Len(t, w.Failures, len(first.Failures), w.Name)
		for reason := range first.Failures {
			f := w.Failures[reason]
			require.NotEmpty(t, f.Title, "%s: %s", w.Name, reason)
			require.NotEmpty(t, f.Text, "%s: %s", w.Name, reason)
			require.NotContains(t, w.of("", f.Text), "{us}")
		}
	}
}

func TestLogos(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>`:                                     "image/svg+xml",
		"RIFF\x00\x00\x00\x00WEBPVP8 ":                                                                            "image/webp",
		"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89": "image/png",
		"": "", "a text": "", "<html></html>": "", "<svg>": "", strings.Repeat("x", maxLogo+1): "",
	} {
		path := filepath.Join(t.TempDir(), "logo")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		logo, err := ReadLogo(path)
		if want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, logo.contentType)
	}
	_, err := ReadLogo(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
	require.Error(t, CheckBrandName("a\nb"))
	require.NoError(t, CheckBrandName("Padaria do João"))
}
