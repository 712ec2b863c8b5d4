package notify

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing may be left behind by what was closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
