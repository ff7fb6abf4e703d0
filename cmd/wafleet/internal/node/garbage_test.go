package node

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLittleGarbageBesideMuchThatLives(t *testing.T) {
	t.Parallel()
	for live, percent := range map[uint64]int{
		0: 1200, 4 << 20: 1200, 48 << 20: 100, 128 << 20: 37, 192 << 20: 25, 1 << 30: 25, 10 << 30: 25,
	} {
		require.Equal(t, percent, collectorPercent(live), "%d MiB", live>>20)
	}
}

// TestTheCollectorFollowsTheHeap looks at this process' own collector.
func TestTheCollectorFollowsTheHeap(t *testing.T) { //nolint:paralleltest // the collector is the process'
	setGlobals()
	percent := func() uint64 {
		runtime.GC()
		return measure("/gc/gogc:percent")
	}
	require.Eventually(t, func() bool { return percent() > 200 }, time.Minute, time.Millisecond)
	much := make([]byte, 200<<20) // never touched: the system gives no memory for it
	require.Eventually(t, func() bool { return percent() < 60 }, time.Minute, time.Millisecond)
	runtime.KeepAlive(much)
	require.Eventually(t, func() bool { return percent() > 200 }, time.Minute, time.Millisecond)
}

// TestGOGCSaysOtherwise, also if it says what Go's default is: in a process of its own, which has begun with it.
func TestGOGCSaysOtherwise(t *testing.T) {
	t.Parallel()
	const own = "GARBAGE_TEST_PROCESS"
	if os.Getenv(own) != "" {
		setGlobals()
		require.EqualValues(t, 100, measure("/gc/gogc:percent"))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGOGCSaysOtherwise$")
	cmd.Env = append(os.Environ(), own+"=1", "GOGC=100")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
