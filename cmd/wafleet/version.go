package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X main.version=v1.2.3, the commit, and when it was made (RFC 3339). They are given rather than taken from the folder
// that is built in, so that the same source gives the same bytes anywhere.
var version, commit, commitDate string //nolint:gochecknoglobals // the linker sets nothing else

type versionCmd struct{}

// Run prints what this binary is made of.
func (versionCmd) Run(p program) error {
	v, revision := buildVersion()
	_, err := fmt.Fprintf(p.Stdout, "wafleet %s\ncommit %s of %s\n%s %s/%s, whatsmeow %s\n",
		v, revision, cmp.Or(commitDate, setting("vcs.time"), "unknown date"), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		moduleVersion("go.mau.fi/whatsmeow"))
	return err //nolint:wrapcheck // stdout is gone
}

// buildVersion is the version and the commit that this binary was built from, as far as they are known.
func buildVersion() (v, revision string) {
	v = version
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(v, info.Main.Version)
	}
	return cmp.Or(v, "dev"), cmp.Or(commit, setting("vcs.revision"), "unknown")
}

// setting is what go build noted; empty where it noted nothing.
func setting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// moduleVersion is the version of a module in this binary.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "unknown"
}
