//go:build !unix

package bench

import "time"

func openFiles() (limit uint64, known bool) { return 0, false }

func processorTime() time.Duration { return 0 }
