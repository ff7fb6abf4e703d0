package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/config"
	"github.com/wafleet/wafleet/cmd/wafleet/internal/node"
)

// storeFlags are the settings that every command on a database takes. They are texts here: package config reads them, so that
// all faults of all sources are reported together. A test holds the names to those of config.Settings.
type storeFlags struct {
	Config    string  `help:"Config file, YAML; see serve --print-config. [$$WAFLEET_CONFIG]" fromenv:"WAFLEET_CONFIG" placeholder:"FILE"`
	Data      *string `help:"${help_data}" placeholder:"DIR"`
	Database  *string `help:"${help_database}" placeholder:"URL"`
	LogLevel  *string `help:"${help_log_level}" placeholder:"LEVEL"`
	LogFormat *string `help:"${help_log_format}" placeholder:"FORMAT"`
}

func (f *storeFlags) load(command *kong.Context, p program) (config.Config, error) {
	given := make(map[string]string)
	for _, flag := range command.Flags() {
		if value, ok := command.FlagValue(flag).(*string); ok && value != nil {
			given[flag.Name] = *value
		}
	}
	c, err := config.Load(config.Sources{File: f.Config, Getenv: p.Getenv, Flags: given})
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

type serveCmd struct {
	storeFlags

	Listen            *string `help:"${help_listen}" placeholder:"HOST:PORT"`
	AdminListen       *string `help:"${help_admin_listen}" placeholder:"HOST:PORT"`
	PublicURL         *string `help:"${help_public_url}" placeholder:"URL"`
	TrustedProxies    *string `help:"${help_trusted_proxies}" placeholder:"NETWORKS"`
	BrandName         *string `help:"${help_brand_name}" placeholder:"NAME"`
	BrandLogo         *string `help:"${help_brand_logo}" placeholder:"FILE"`
	AdminKey          *string `help:"${help_admin_key}" placeholder:"KEY"`
	AdminKeyFile      *string `help:"${help_admin_key_file}" placeholder:"FILE"`
	MasterKey         *string `help:"${help_master_key}" placeholder:"KEY"`
	MasterKeyFile     *string `help:"${help_master_key_file}" placeholder:"FILE"`
	WhatsApp          *string `name:"whatsapp" help:"${help_whatsapp}" placeholder:"URL"`
	ConnectsPerSecond *string `help:"${help_connects_per_second}" placeholder:"N"`
	ConnectBurst      *string `help:"${help_connect_burst}" placeholder:"N"`
	AuditRetention    *string `name:"audit-retention-days" help:"${help_audit_retention_days}" placeholder:"DAYS"`
	Drain             *string `help:"${help_drain}" placeholder:"DURATION"`
	PrintConfig       bool    `help:"Print a commented config file with the defaults, and exit."`

	limitFlags
}

// limitFlags are the defaults of tenants' limits.
type limitFlags struct {
	RequestsPerSecond    *string `group:"Limits of each tenant:" help:"${help_requests_per_second}" placeholder:"N"`
	RequestBurst         *string `group:"Limits of each tenant:" help:"${help_request_burst}" placeholder:"N"`
	ConcurrentRequests   *string `group:"Limits of each tenant:" help:"${help_concurrent_requests}" placeholder:"N"`
	EventStreams         *string `group:"Limits of each tenant:" help:"${help_event_streams}" placeholder:"N"`
	SendsPerMinute       *string `group:"Limits of each tenant:" help:"${help_sends_per_minute}" placeholder:"N"`
	SendBurst            *string `group:"Limits of each tenant:" help:"${help_send_burst}" placeholder:"N"`
	ConcurrentSends      *string `group:"Limits of each tenant:" help:"${help_concurrent_sends}" placeholder:"N"`
	ColdChatsPerDay      *string `group:"Limits of each tenant:" help:"${help_cold_chats_per_day}" placeholder:"N"`
	NumberChecksPerHour  *string `group:"Limits of each tenant:" help:"${help_number_checks_per_hour}" placeholder:"N"`
	UploadBytesPerDay    *string `group:"Limits of each tenant:" help:"${help_upload_bytes_per_day}" placeholder:"N"`
	DownloadBytesPerDay  *string `group:"Limits of each tenant:" help:"${help_download_bytes_per_day}" placeholder:"N"`
	StorageBytes         *string `group:"Limits of each tenant:" help:"${help_storage_bytes}" placeholder:"N"`
	MessageRetentionDays *string `group:"Limits of each tenant:" help:"${help_message_retention_days}" placeholder:"N"`
	EventRetentionDays   *string `group:"Limits of each tenant:" help:"${help_event_retention_days}" placeholder:"N"`
	RetentionBytes       *string `group:"Limits of each tenant:" help:"${help_retention_bytes}" placeholder:"N"`
}

// Run serves until the context ends.
func (s *serveCmd) Run(ctx context.Context, command *kong.Context, p program) error {
	if s.PrintConfig {
		_, err := fmt.Fprint(p.Stdout, config.Example)
		return err //nolint:wrapcheck // stdout is gone
	}
	c, err := s.load(command, p)
	if err != nil {
		return err
	}
	log := newLogger(p.Stderr, c.LogLevel, c.LogFormat)
	version, revision := buildVersion()
	return node.Run(ctx, node.Options{Config: c, Log: log, Version: version, Revision: revision})
}

type migrateCmd struct {
	storeFlags
}

// Run upgrades the database.
func (m *migrateCmd) Run(ctx context.Context, command *kong.Context, p program) error {
	c, err := m.load(command, p)
	if err != nil {
		return err
	}
	if err = node.Migrate(ctx, c, newLogger(p.Stderr, c.LogLevel, c.LogFormat)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Stdout, "%s is up to date\n", config.Database(c.DatabaseURL()))
	return err //nolint:wrapcheck // stdout is gone
}
