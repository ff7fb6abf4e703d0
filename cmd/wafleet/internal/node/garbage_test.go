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
	for live, percent := range map[uint64][2]int{ // calm, and under load
		0: {1200, 1200}, 4 << 20: {1200, 1200}, 48 << 20: {100, 100}, 128 << 20: {37, 100}, 192 << 20: {25, 100}, 1 << 30: {25, 100}, 10 << 30: {25, 100},
	} {
		require.Equal(t, percent[0], collectorPercent(live, 1), "%d MiB", live>>20)
		require.Equal(t, percent[1], collectorPercent(live, liveShare), "%d MiB under load", live>>20)
	}
}

func TestTheCollectorTakesLittleOfTheProcessor(t *testing.T) {
	t.Parallel()
	ease := 1
	for _, step := range []struct {
		gc   float64 // of one second
		want int
	}{{0.2, 2}, {0.07, 2}, {0.16, 4}, {0.5, 4}, {0.06, 4}, {0.01, 2}, {0.04, 1}, {0, 1}} {
		ease = nextEase(ease, step.gc, 1)
		require.Equal(t, step.want, ease, "%v", step)
	}
	require.Equal(t, 2, nextEase(2, 0, 0), "nothing is known")
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
	require.Eventually(t, func() bool { return percent() <= 100 }, time.Minute, time.Millisecond)
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
