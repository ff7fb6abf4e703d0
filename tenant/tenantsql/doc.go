// Package tenantsql stores what package tenant declares on SQLite and on PostgreSQL, with one text per query.
//
// All changes to what tenants own pass through one goroutine, the committer (commit.go), which takes what is queued into one
// transaction: many callers share one fsync, and the numbers of each tenant's journal are handed out in one place. Reads go to
// the pool and never wait for the committer.
//
// Nothing of a driver leaves the package: what a database that cannot be reached answers becomes tenant.ErrUnavailable.
package tenantsql
