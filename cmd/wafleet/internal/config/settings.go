package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
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
	return []Setting{
		{"listen", "Address of the HTTP API.", text(func(c *Config) *string { return &c.Listen })},
		{"public-url", "How users reach the node, e.g. https://wa.example.com.", text(func(c *Config) *string { return &c.PublicURL })},
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
			"whatsapp", "Control URL of a simulated WhatsApp on this machine, in place of the real one.",
			text(func(c *Config) *string { return &c.WhatsApp }),
		},
		{"connects-per-second", "Pace at which sessions come online.", setConnects},
		{"connect-burst", "How many sessions may connect at once before the pace holds.", setBurst},
		{"drain", "How long stopping may take, e.g. 20s.", setDrain},
		{"log-level", "debug, info, warn or error.", setLevel},
		{"log-format", "text, json, or auto: text on a terminal, JSON elsewhere.", text(func(c *Config) *string { return &c.LogFormat })},
	}
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
