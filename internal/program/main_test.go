package program

import (
	"testing"

	"go.uber.org/goleak"
)

// No program may leave a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
