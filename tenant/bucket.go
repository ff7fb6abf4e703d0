package tenant

import (
	"time"

	"golang.org/x/time/rate"
)

// Bucket is a pace that follows its limit when that is changed: so many per a time, so many at once. The zero value is full. It is
// guarded by its owner.
type Bucket struct{ limiter *rate.Limiter }

// Pace is a limit of a [Bucket]: Per in each Each, Burst at once. Per 0 is no limit.
type Pace struct {
	Per, Burst int64
	Each       time.Duration
}

// Take takes n, or says how long that would have to wait. A wait of up to patience is granted: the caller does it.
func (b *Bucket) Take(now time.Time, n int, p Pace, patience time.Duration) (wait time.Duration, ok bool) {
	if p.Per <= 0 {
		return 0, true
	}
	b.follow(now, p)
	taken := b.limiter.ReserveN(now, n)
	if !taken.OK() { // more than the burst: it never fits
		return p.Each, false
	}
	if wait = taken.DelayFrom(now); wait > patience {
		taken.CancelAt(now)
		return wait, false
	}
	return wait, true
}

// Left is how many could be taken at once now.
func (b *Bucket) Left(now time.Time, p Pace) int64 {
	if p.Per <= 0 {
		return 0
	}
	b.follow(now, p)
	return max(0, int64(b.limiter.TokensAt(now)))
}

func (b *Bucket) follow(now time.Time, p Pace) {
	pace, size := rate.Limit(float64(p.Per)/p.Each.Seconds()), int(max(p.Burst, 1))
	if b.limiter == nil {
		b.limiter = rate.NewLimiter(pace, size)
		return
	}
	if b.limiter.Limit() != pace {
		b.limiter.SetLimitAt(now, pace)
	}
	if b.limiter.Burst() != size {
		b.limiter.SetBurstAt(now, size)
	}
}

// Requests is the pace of API requests.
func (l *Limits) Requests() Pace { return Pace{l.RequestsPerSecond, l.RequestBurst, time.Second} }

// Sends is the pace of messages.
func (l *Limits) Sends() Pace { return Pace{l.SendsPerMinute, l.SendBurst, time.Minute} }

// NumberChecks is the pace of checks of phone numbers, of which up to atOnce are one call.
func (l *Limits) NumberChecks(atOnce int64) Pace {
	return Pace{l.NumberChecksPerHour, max(l.NumberChecksPerHour, atOnce), time.Hour}
}
