package bench_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/cmd/wafleet/internal/bench"
)

func TestTenants(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, engine string, o bench.Options) {
		t.Helper()
		report, err := bench.Tenants(t.Context(), bench.TenantsOptions{Options: o, Tenants: []int{3, 12}, Requests: 10})
		require.NoError(t, err)
		m := members(t, report)
		require.Equal(t, "tenants", m["benchmark"])
		require.Equal(t, engine, m["engine"])
		require.Equal(t, "3 tenants, same run", m["reference"])
		require.Len(t, report.Sizes, 2)
		for i, tenants := range []int{3, 12} {
			checkTenants(t, tenants, &report.Sizes[i])
		}
		requireTable(t, &report, "search by name")
	})
}

func checkTenants(t *testing.T, tenants int, size *bench.TenantsSize) {
	t.Helper()
	require.Equal(t, tenants, size.Tenants)
	require.Equal(t, 2*tenants, size.Series)
	require.Positive(t, size.Provisioned)
	require.Positive(t, size.Deleted)
	require.Len(t, size.Operations, 8)
	for _, op := range size.Operations {
		require.Equal(t, 10, op.Count, op.Name)
		require.Positive(t, op.P99, op.Name)
	}
	for _, s := range []bench.Scrape{size.Text, size.Protobuf} {
		require.Equal(t, 1, s.Count)
		require.Greater(t, s.Bytes, s.Wire)
		require.Positive(t, s.Wire)
	}
}

func TestTenantsOptions(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*bench.TenantsOptions){
		"no size":    func(o *bench.TenantsOptions) { o.Tenants = nil },
		"no tenant":  func(o *bench.TenantsOptions) { o.Tenants = []int{0} },
		"no request": func(o *bench.TenantsOptions) { o.Requests = 0 },
	} {
		o := bench.TenantsOptions{Options: small(t), Tenants: []int{2}, Requests: 1}
		o.Progress = io.Discard
		spoil(&o)
		_, err := bench.Tenants(t.Context(), o)
		require.ErrorIs(t, err, bench.ErrOptions, name)
	}
}
