package interop

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// pairs is how many pairs run at once. They mostly wait for the protocol's
// timers, so more of them than there are processors do not disturb each other.
const pairs = "16"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", pairs); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
