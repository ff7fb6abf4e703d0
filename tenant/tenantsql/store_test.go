package tenantsql_test

import (
	"testing"

	"go.mau.fi/whatsmeow/util/keys"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

func TestDevices(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			tenanttest.ExerciseDevices(t, func(t *testing.T) tenanttest.DeviceStore {
				t.Helper()
				return engine.Open(t)
			})
		})
	}
}

func TestMain(m *testing.M) {
	// libsignal makes its logger when first asked, without a lock: ask before there are goroutines.
	keys.NewKeyPair().CreateSignedPreKey(1)
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			tenanttest.Exercise(t, func(t *testing.T) tenant.Store {
				t.Helper()
				return engine.Open(t)
			})
		})
	}
}
