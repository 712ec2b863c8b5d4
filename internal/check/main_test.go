package check

import (
	"testing"

	"go.uber.org/goleak"
)

// No probe and no runner may leave a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
