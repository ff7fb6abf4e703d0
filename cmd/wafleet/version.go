package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(p program) error {
	v, revision := buildVersion()
	_, err := fmt.Fprintf(p.Stdout, "wafleet %s (%s) %s\n", v, revision, runtime.Version())
	return err //nolint:wrapcheck // stdout is gone
}

// buildVersion is the version and the commit that this binary was built from, as far as they are known.
func buildVersion() (v, revision string) {
	v, revision = version, "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, revision
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return v, revision
}
