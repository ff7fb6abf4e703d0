package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wafleet.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestExampleSaysTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Sources{File: write(t, config.Example)})
	require.NoError(t, err)
	require.Equal(t, config.Default(), c)
	for _, s := range config.Settings() {
		require.Contains(t, config.Example, "\n"+s.Name+": ")
	}
}

func TestSourcesWinInOrder(t *testing.T) {
	t.Parallel()
	file := write(t, "listen: 127.0.0.1:1\ndata: file\nlog-level: error\n")
	c, err := config.Load(config.Sources{
		File:   file,
		Getenv: env(map[string]string{"WAFLEET_LISTEN": "127.0.0.1:2", "WAFLEET_DATA": "env", "WAFLEET_DRAIN": ""}),
		Flags:  map[string]string{"listen": "127.0.0.1:3", "drain": "3s"},
	})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3", c.Listen)
	require.Equal(t, "env", c.Data)
	require.Equal(t, slog.LevelError, c.LogLevel)
	require.Equal(t, 3*time.Second, c.Drain)
	require.Equal(t, "sqlite:env/wafleet.db", c.DatabaseURL())
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	file := write(t, "lissten: x\nlog-format: xml\ndrain: [1]\ndata: a\ndata: b\nadmin-key: short\n")
	_, err := config.Load(config.Sources{
		File: file,
		Getenv: env(map[string]string{
			"WAFLEET_LOG_LEVEL": "loud", "WAFLEET_WHATSAPP": "http://10.0.0.1:80", "WAFLEET_DATABASE": "mysql://root:hunter2@x",
		}),
		Flags: map[string]string{
			"connect-burst": "many", "connects-per-second": "-1", "listen": "nowhere", "public-url": "ftp://x",
			"admin-key-file": "/nonexistent",
		},
	})
	require.Error(t, err)
	for _, fault := range []string{
		`line 1: unknown setting "lissten"`, "line 3: drain: not a single value", "line 5: data is set twice", "log-format:",
		"admin-key: shorter", `WAFLEET_LOG_LEVEL: "loud"`, "whatsapp: ", "database: scheme", `--connect-burst: "many"`,
		"connects-per-second: -1", "listen: ", "public-url: ", "admin-key and admin-key-file are both set",
	} {
		require.ErrorContains(t, err, fault)
	}
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil, " , ": nil, "127.0.0.1, 10.1.2.3/8 ,::1,fd00::/8": {"127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8"},
	} {
		c, err := config.Load(config.Sources{Flags: map[string]string{"trusted-proxies": text}})
		require.NoError(t, err)
		proxies, err := c.TrustedProxies()
		require.NoError(t, err)
		var got []string
		for _, proxy := range proxies {
			got = append(got, proxy.String())
		}
		require.Equal(t, want, got)
	}
	for _, wrong := range []string{"localhost", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1;10.0.0.2"} {
		_, err := config.Load(config.Sources{Flags: map[string]string{"trusted-proxies": wrong}})
		require.ErrorContains(t, err, "trusted-proxies: ", wrong)
	}
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"list": "- a\n", "syntax": "a: [\n", "scalar": "hello"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Sources{File: write(t, text)})
			require.ErrorContains(t, err, "config file")
		})
	}
	_, err := config.Load(config.Sources{File: filepath.Join(t.TempDir(), "absent")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = config.Load(config.Sources{File: write(t, "# nothing\n")})
	require.NoError(t, err)
}

func TestAdminKeyFromFile(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Sources{Flags: map[string]string{"admin-key-file": write(t, "0123456789abcdef\n")}})
	require.NoError(t, err)
	require.Equal(t, config.Secret("0123456789abcdef"), c.AdminKey)
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.AdminKey = "very-secret-admin-key"
	c.Database = "postgres://me:very-secret@db/x?sslpassword=very-secret"
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).InfoContext(t.Context(), "config", "config", c, "key", c.AdminKey, "database", c.Database)
	encoded, err := json.Marshal(c) //nolint:musttag // nothing encodes it so; this shows that nothing would leak
	require.NoError(t, err)
	out.Write(encoded)
	_, _ = fmt.Fprintf(&out, "%v %+v %#v %s", c, c, c, c.Database)
	require.NotContains(t, out.String(), "very-secret")
	require.Contains(t, out.String(), "postgres://me:xxxxx@db/x")
	require.Equal(t, "(malformed URL)", config.Database("postgres://a:very-secret@%zz").String())
}
