// Package migrations holds the schema: numbered SQL files, one for both engines, embedded in the binary. A file never changes
// once it is released. Package tenantsql runs them.
package migrations

import (
	"embed"

	"go.mau.fi/util/dbutil"
)

// VersionTable is where a database keeps the version of our schema, beside those of others that live in it.
const VersionTable = "wafleet_version"

//go:embed *.sql
var files embed.FS

// Table returns the upgrades in their order.
func Table() dbutil.UpgradeTable {
	return dbutil.BuildUpgradeTable().WithFS(files).Finish()
}
