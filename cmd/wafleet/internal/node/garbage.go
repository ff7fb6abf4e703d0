package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go collects when there is as much garbage as there is live memory. A node with a few sessions, which are a few megabytes, would collect
// all the time while messages come in; one with ten thousand, most of which have nothing to do, would keep a gigabyte of garbage, and what
// is made between two collections while they log in leaves holes for good.
const (
	leastGarbage = 48 << 20 // bytes before a collection is worth its while
	liveShare    = 4        // or a fourth of what is live, if that is more

	// leastLive is what the runtime takes to be live when there is less: the heap's least size is the percentage of it.
	leastLive = 4 << 20

	defaultPercent = 100
)

// paceCollector has this process collect as suits a node, unless GOGC says how.
func paceCollector() {
	if os.Getenv("GOGC") == "" && measure("/gc/gogc:percent") == defaultPercent {
		setCollector()
	}
}

// setCollector sets the percentage, and is called again behind the next collection.
func setCollector() {
	debug.SetGCPercent(collectorPercent(measure("/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes")))
	runtime.AddCleanup(new(sentinel), func(struct{}) { setCollector() }, struct{}{})
}

// sentinel is garbage at once. It has a pointer, so that it does not share a block with anything that lives on.
type sentinel struct{ _ *sentinel }

// collectorPercent is how much garbage there may be, in hundredths of live, which is what the collector must look through, in bytes.
func collectorPercent(live uint64) int {
	live = max(live, leastLive)
	return int(max(leastGarbage, live/liveShare) * 100 / live) //nolint:gosec // at most 1200
}

// measure is the sum of some of the runtime's figures.
func measure(names ...string) (sum uint64) {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 { // else this version of Go does not know it
			sum += s.Value.Uint64()
		}
	}
	return sum
}
