package bench

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
)

// Memory is what a process holds at one moment, in bytes.
type Memory struct {
	RSS        int64 `json:"rss"`      // resident, as the kernel sees it; 0 where it does not say
	LiveHeap   int64 `json:"liveHeap"` // what the last collection found in use
	Stacks     int64 `json:"stacks"`
	Goroutines int64 `json:"goroutines"`
}

// readMemory looks at this process: as it is, or after a forced collection that gives back to the system what is free.
func readMemory(force bool) Memory {
	if force {
		runtime.GC() // what finalizers and pools let go of is free after the second one
		debug.FreeOSMemory()
	}
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	value := func(i int) int64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(samples[i].Value.Uint64()) //nolint:gosec // bytes of this machine
	}
	return Memory{RSS: residentSize(), LiveHeap: value(0), Stacks: value(1), Goroutines: value(2)}
}

// residentSize reads Linux's count of pages; elsewhere it is 0.
func residentSize() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// minus is what came on top of a baseline, divided over n sessions.
func (m Memory) minus(base Memory, n int) PerSession {
	each := func(now, before int64) float64 { return float64(now-before) / float64(n) }
	return PerSession{
		RSS:        each(m.RSS, base.RSS),
		LiveHeap:   each(m.LiveHeap, base.LiveHeap),
		Stacks:     each(m.Stacks, base.Stacks),
		Goroutines: each(m.Goroutines, base.Goroutines),
	}
}

// PerSession is one session's part of a process, in bytes: (process - the same process before) / sessions.
type PerSession struct {
	RSS        float64 `json:"rss"`
	LiveHeap   float64 `json:"liveHeap"`
	Stacks     float64 `json:"stacks"`
	Goroutines float64 `json:"goroutines"`
}
