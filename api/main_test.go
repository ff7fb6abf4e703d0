package api_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/api"
)

func TestMain(m *testing.M) {
	api.InstallErrors()
	goleak.VerifyTestMain(m)
}
