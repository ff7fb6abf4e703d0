package node

import (
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
