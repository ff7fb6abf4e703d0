package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go collects when there is as much garbage as there is live memory. A node with a few sessions, which are a few megabytes, would collect
// all the time while messages come in; one with ten thousand, most of which have nothing to do, would keep a gigabyte of garbage, and what
// is made between two collections while they log in leaves holes for good. So there may be less, as long as collecting takes little of
// the processor; under load, when much is live and much is made, it is Go's measure again.
const (
	leastGarbage = 48 << 20 // bytes before a collection is worth its while
	liveShare    = 4        // or a fourth of what is live, if that is more

	// What collecting may take of the time that the processor works: above the one there may be twice the garbage, below the other half.
	muchWork   = 0.15
	littleWork = 0.05

	// leastLive is what the runtime takes to be live when there is less: the heap's least size is the percentage of it.
	leastLive = 4 << 20

	defaultPercent = 100
)

// paceCollector has this process collect as suits a node, unless GOGC says how.
func paceCollector() {
	if os.Getenv("GOGC") == "" && measure("/gc/gogc:percent") == defaultPercent {
		setCollector(collector{ease: 1})
	}
}

// collector is what is known of the collections so far.
type collector struct {
	ease       int     // how many times the least garbage there may be: a power of two up to liveShare
	gc, worked float64 // seconds of processors, collecting and in all
}

// setCollector sets the percentage, and is called again behind the next collection.
func setCollector(last collector) {
	now := collector{gc: seconds("/cpu/classes/gc/total:cpu-seconds") - seconds("/cpu/classes/gc/mark/idle:cpu-seconds")}
	now.worked = seconds("/cpu/classes/total:cpu-seconds") - seconds("/cpu/classes/idle:cpu-seconds") - seconds("/cpu/classes/gc/mark/idle:cpu-seconds")
	now.ease = nextEase(last.ease, now.gc-last.gc, now.worked-last.worked)
	live := measure("/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes")
	debug.SetGCPercent(collectorPercent(live, now.ease))
	runtime.AddCleanup(new(sentinel), setCollector, now)
}

// nextEase follows what collecting took of what was worked since the last collection, in seconds.
func nextEase(ease int, gc, worked float64) int {
	switch {
	case worked <= 0:
		return ease
	case gc > muchWork*worked:
		return min(2*ease, liveShare)
	case gc < littleWork*worked:
		return max(ease/2, 1)
	default:
		return ease
	}
}

// sentinel is garbage at once. It has a pointer, so that it does not share a block with anything that lives on.
type sentinel struct{ _ *sentinel }

// collectorPercent is how much garbage there may be, in hundredths of live, which is what the collector must look through, in bytes. It is
// no more than Go's own measure, unless that is less than the least.
func collectorPercent(live uint64, ease int) int {
	live = max(live, leastLive)
	garbage := max(leastGarbage, min(max(leastGarbage, live/liveShare)*uint64(ease), live)) //nolint:gosec // 1 to liveShare
	return int(garbage * 100 / live)                                                        //nolint:gosec // at most 1200
}

// seconds is one of the runtime's figures of time.
func seconds(name string) float64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return sample[0].Value.Float64()
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
