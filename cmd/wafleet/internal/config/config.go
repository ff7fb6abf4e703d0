// Package config is the configuration of a node: one struct, made of defaults, then the config file, then the environment, then
// flags, and validated as a whole, so that whoever starts a node hears of every fault at once.
//
// A setting has one name everywhere: drain is --drain, WAFLEET_DRAIN, and the key drain of the config file. The file is YAML,
// since operators keep comments beside their settings; the parser is the one that the YAML project maintains.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/api/console"
	"github.com/wafleet/wafleet/session/devicestore"
	"github.com/wafleet/wafleet/tenant"
)

// Config is everything that can be set about a node. Make one with [Load], or with [Default] and by hand, then Validate.
type Config struct {
	Listen       string   // host:port of the HTTP API
	Database     Database // where tenants, messages and devices lie
	Data         string   // folder of the embedded database
	AdminListen  string   // host:port of the admin API, metrics and profiles; empty: all but profiles are at Listen
	AdminKey     Secret   // bearer token of the admin API; empty: the admin API is off
	AdminKeyFile string   // file that holds AdminKey
	// MasterKey encrypts the keys of devices, see package devicestore. Several may be given, the newest first; none: see MasterKeyPath.
	MasterKey     Secret
	MasterKeyFile string // file that holds MasterKey
	PublicURL     string // how users reach the node, e.g. https://wa.example.com; empty: as the request came
	Proxies       string // addresses whose X-Forwarded-For is believed, separated by commas
	BrandName     string // how the operator calls itself on the page of pairing links; empty: not at all
	BrandLogo     string // file with the operator's logo; empty: none
	WhatsApp      string // control URL of a simulator; empty: the real WhatsApp

	LogLevel  slog.Level
	LogFormat string // auto, text or json

	AuditRetentionDays int // how long the audit log is kept; 0: for ever

	Drain             time.Duration // what stopping may take
	ConnectsPerSecond float64       // pace at which sessions come online
	ConnectBurst      int           // how many of them at once

	Limits tenant.Limits // of tenants for whom the operator has set no others
}

// Formats of logs. LogAuto is text on a terminal and JSON elsewhere.
const (
	LogAuto = "auto"
	LogText = "text"
	LogJSON = "json"
)

// Default is a node without any configuration.
func Default() Config {
	return Config{
		Listen:            "127.0.0.1:8080",
		Data:              "wafleet-data",
		LogFormat:         LogAuto,
		Drain:             20 * time.Second,
		ConnectsPerSecond: 25,
		ConnectBurst:      25,

		Limits: tenant.DefaultLimits(),

		AuditRetentionDays: 365,
	}
}

// databaseFile is the embedded database's name within the data folder.
const databaseFile = "wafleet.db"

// DatabaseURL is the database to open: the one that was set, else the embedded one in the data folder.
func (c *Config) DatabaseURL() string {
	return cmp.Or(string(c.Database), "sqlite:"+filepath.Join(c.Data, databaseFile))
}

// MasterKeyPath is where a node without any configured master key finds its own, beside the embedded database. Empty for a database
// of another kind.
func (c *Config) MasterKeyPath() string {
	path, embedded := strings.CutPrefix(c.DatabaseURL(), "sqlite:")
	if !embedded {
		return ""
	}
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "//"), "?")
	return filepath.Join(filepath.Dir(path), "master.key")
}

// Embedded says whether the database is a file of ours.
func (c *Config) Embedded() bool { return strings.HasPrefix(c.DatabaseURL(), "sqlite:") }

// Secret is a text that no log, error or encoder shows. Convert it to string to use it.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v too.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Database is a database's URL. It prints without the password.
type Database string

// String is the URL without its secrets.
func (d Database) String() string {
	u, err := url.Parse(string(d))
	if err != nil {
		return "(malformed URL)"
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		for _, name := range []string{"password", "sslpassword"} {
			if q.Has(name) {
				q.Set(name, "xxxxx")
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// GoString hides the password from %#v too.
func (d Database) GoString() string { return strconv.Quote(d.String()) }

// LogValue hides the password from logs.
func (d Database) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText hides the password from encoders.
func (d Database) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// minAdminKey is the least length of an admin key: 16 characters of hex are 64 random bits.
const minAdminKey = 16

// Validate checks the configuration and returns all its faults, joined.
func (c *Config) Validate() error {
	var faults []error
	check := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	check("listen", checkListen(c.Listen))
	if c.AdminListen != "" {
		check("admin-listen", checkListen(c.AdminListen))
		if c.AdminListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
			check("admin-listen", errors.New("the same address as listen: leave it empty, or name another"))
		}
	}
	check("database", checkDatabase(string(c.Database)))
	if c.Embedded() && c.Data == "" && c.Database == "" {
		check("data", errors.New("a folder is needed for the embedded database"))
	}
	check("admin-key", checkAdminKey(string(c.AdminKey)))
	if c.MasterKey != "" {
		_, err := devicestore.ParseKeyring(string(c.MasterKey))
		check("master-key", err)
	}
	check("public-url", checkPublicURL(c.PublicURL))
	_, err := c.TrustedProxies()
	check("trusted-proxies", err)
	check("brand-name", console.CheckBrandName(c.BrandName))
	check("brand-logo", checkLogo(c.BrandLogo))
	check("whatsapp", checkSimulator(c.WhatsApp))
	switch c.LogFormat {
	case LogAuto, LogText, LogJSON:
	default:
		check("log-format", fmt.Errorf("%q is none of auto, text, json", c.LogFormat))
	}
	if c.Drain <= 0 {
		check("drain", fmt.Errorf("%s is not positive", c.Drain))
	}
	if !(c.ConnectsPerSecond > 0) || math.IsInf(c.ConnectsPerSecond, 0) {
		check("connects-per-second", fmt.Errorf("%v is not a positive number", c.ConnectsPerSecond))
	}
	if c.ConnectBurst < 1 {
		check("connect-burst", fmt.Errorf("%d is below 1", c.ConnectBurst))
	}
	for _, s := range tenant.LimitSettings() {
		check(s.Flag(), s.Check(*s.Field(&c.Limits)))
	}
	if c.AuditRetentionDays < 0 || c.AuditRetentionDays > maxRetentionDays {
		check("audit-retention-days", fmt.Errorf("%d is not from 0 to %d", c.AuditRetentionDays, maxRetentionDays))
	}
	return errors.Join(faults...)
}

// maxRetentionDays is a century.
const maxRetentionDays = 36_500

// AuditRetention is how long the audit log is kept; 0: for ever.
func (c *Config) AuditRetention() time.Duration {
	return time.Duration(c.AuditRetentionDays) * 24 * time.Hour
}

func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if _, err = strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port", port)
	}
	return nil
}

// checkDatabase never quotes the URL: it may hold a password.
func checkDatabase(raw string) error {
	if raw == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		if strings.TrimLeft(path, "/") == "" {
			return errors.New("sqlite: needs a path, e.g. sqlite:/var/lib/wafleet/wafleet.db")
		}
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("not a URL, e.g. postgres://user:password@host/database or sqlite:/path/to/file")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return fmt.Errorf("scheme %q is none of postgres, sqlite", u.Scheme)
	}
	return nil
}

func checkAdminKey(key string) error {
	if key == "" {
		return nil
	}
	if len(key) < minAdminKey {
		return fmt.Errorf("shorter than %d characters", minAdminKey)
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return errors.New("holds a character that an HTTP header does not carry")
		}
	}
	return nil
}

func checkPublicURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%q is not http(s)://host[/path]", raw)
	}
	return nil
}

func checkLogo(path string) error {
	if path == "" {
		return nil
	}
	_, err := console.ReadLogo(path)
	return err //nolint:wrapcheck // it says all
}

// TrustedProxies are the networks whose X-Forwarded-For is believed.
func (c *Config) TrustedProxies() ([]netip.Prefix, error) {
	var proxies []netip.Prefix
	for text := range strings.SplitSeq(c.Proxies, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		proxy, err := netip.ParsePrefix(text)
		if err != nil {
			address, addrErr := netip.ParseAddr(text)
			if addrErr != nil || address.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a network, e.g. 127.0.0.1,10.0.0.0/8", text)
			}
			proxy = netip.PrefixFrom(address, address.BitLen())
		}
		if address := proxy.Addr(); address.Is4In6() { // requests' addresses are compared as IPv4
			return nil, fmt.Errorf("%q is an IPv4 address in the form of IPv6: write it as IPv4", text)
		}
		proxies = append(proxies, proxy.Masked())
	}
	return proxies, nil
}

func checkSimulator(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is not a simulator's control URL, e.g. http://127.0.0.1:8081", raw)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not on this machine: sessions would be led away from WhatsApp", raw)
	}
	return nil
}

// readKeys takes keys from their files, where those are given.
func (c *Config) readKeys() error {
	return errors.Join(readKey("admin-key", &c.AdminKey, c.AdminKeyFile), readKey("master-key", &c.MasterKey, c.MasterKeyFile))
}

func readKey(name string, key *Secret, file string) error {
	if file == "" {
		return nil
	}
	if *key != "" {
		return fmt.Errorf("%s and %s-file are both set: give one of them", name, name)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s-file: %w", name, err)
	}
	if *key = Secret(strings.TrimSpace(string(raw))); *key == "" {
		return fmt.Errorf("%s-file: %s is empty", name, file)
	}
	return nil
}
