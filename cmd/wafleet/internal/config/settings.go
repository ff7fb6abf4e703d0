package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/tenant"
)

// Setting is one thing that can be set, as text, from each source.
type Setting struct {
	Name  string // as flag and as key of the file
	Usage string // for --help
	set   func(c *Config, text string) error
}

// Env is the setting's environment variable.
func (s Setting) Env() string { return EnvName(s.Name) }

// EnvName is the environment variable of the flag of that name.
func EnvName(name string) string {
	return "WAFLEET_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Settings are all settings, in the order of the example file.
func Settings() []Setting {
	return slices.Concat([]Setting{
		{"listen", "Address of the HTTP API.", text(func(c *Config) *string { return &c.Listen })},
		{
			"admin-listen", "Address of the admin API, metrics and profiles, which are not at listen then.",
			text(func(c *Config) *string { return &c.AdminListen }),
		},
		{"public-url", "How users reach the node, e.g. https://wa.example.com.", text(func(c *Config) *string { return &c.PublicURL })},
		{
			"trusted-proxies", "Addresses or networks of proxies whose X-Forwarded-For is believed, separated by commas.",
			text(func(c *Config) *string { return &c.Proxies }),
		},
		{
			"brand-name", "How you call yourself on the page of pairing links, e.g. Example Ltd.",
			text(func(c *Config) *string { return &c.BrandName }),
		},
		{
			"brand-logo", "File with your logo for that page: SVG, PNG, JPEG, GIF or WebP, up to 256 KiB.",
			text(func(c *Config) *string { return &c.BrandLogo }),
		},
		{"data", "Folder of the embedded database.", text(func(c *Config) *string { return &c.Data })},
		{
			"database", "postgres://… or sqlite:PATH; without it, the embedded database in the data folder.",
			text(func(c *Config) *Database { return &c.Database }),
		},
		{
			"admin-key", "Bearer token of the admin API, which is off without one. Better set by environment or file: others see flags.",
			text(func(c *Config) *Secret { return &c.AdminKey }),
		},
		{"admin-key-file", "File that holds the admin key.", text(func(c *Config) *string { return &c.AdminKeyFile })},
		{
			"master-key", "Key that the devices' keys are encrypted by, 32 bytes in base64; several, the newest first, while one is replaced.",
			text(func(c *Config) *Secret { return &c.MasterKey }),
		},
		{"master-key-file", "File that holds the master key.", text(func(c *Config) *string { return &c.MasterKeyFile })},
		{
			"whatsapp", "Control URL of a simulated WhatsApp on this machine, in place of the real one.",
			text(func(c *Config) *string { return &c.WhatsApp }),
		},
		{"connects-per-second", "Pace at which sessions come online.", setConnects},
		{"connect-burst", "How many sessions may connect at once before the pace holds.", setBurst},
		{"audit-retention-days", "How long the audit log is kept; 0: for ever.", setAuditRetention},
		{"drain", "How long stopping may take, e.g. 20s.", setDrain},
		{"log-level", "debug, info, warn or error.", setLevel},
		{"log-format", "text, json, or auto: text on a terminal, JSON elsewhere.", text(func(c *Config) *string { return &c.LogFormat })},
	}, limits())
}

// limits are the defaults of tenants' limits.
func limits() []Setting {
	var all []Setting
	for _, s := range tenant.LimitSettings() {
		all = append(all, Setting{s.Flag(), s.Usage + " 0: no limit. The default of all tenants.", func(c *Config, text string) error {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not a whole number", text)
			}
			*s.Field(&c.Limits) = n
			return nil
		}})
	}
	return all
}

func text[T ~string](field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, s string) error {
		if strings.ContainsRune(s, 0) {
			return errors.New("holds a zero byte")
		}
		*field(c) = T(s)
		return nil
	}
}

func setConnects(c *Config, s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", s)
	}
	c.ConnectsPerSecond = n
	return nil
}

func setBurst(c *Config, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", s)
	}
	c.ConnectBurst = n
	return nil
}

func setAuditRetention(c *Config, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", s)
	}
	c.AuditRetentionDays = n
	return nil
}

func setDrain(c *Config, s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration like 20s or 1m30s", s)
	}
	c.Drain = d
	return nil
}

func setLevel(c *Config, s string) error {
	var level slog.Level
	switch strings.ToLower(s) {
	case "debug":
		level = slog.LevelDebug
	case "info":
	case "warn", "warning":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	default:
		return fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	c.LogLevel = level
	return nil
}
