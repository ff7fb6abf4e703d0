package session

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/metrics"
	"github.com/wafleet/wafleet/session/spool"
	"github.com/wafleet/wafleet/session/transport"
	"github.com/wafleet/wafleet/tenant"
)

// Config is what a fleet needs. All but Pace, Spool, Limits and Limited is required.
type Config struct {
	Store   tenant.Store
	Devices Devices
	Clients *transport.Clients // how to reach WhatsApp
	Metrics *metrics.Fleet
	Log     *slog.Logger
	Pace    Pace
	Spool   spool.Config // where files are on their way, and how many
	// Limits are the tenants'; nil: there are none.
	Limits *tenant.LimitBook
	// Limited is told of reach-out time locks; nil: nobody is.
	Limited *metrics.Limits
}

// Pace is how fast the fleet does things and how long it waits. Zero means the default.
type Pace struct {
	// Connects per second over the whole fleet, with bursts of Burst, at most Dials of them under way at once.
	Connects float64 // 25
	Burst    int     // 25
	Dials    int     // 32

	// BackoffMin and BackoffMax bound the wait before the next attempt of one session; it doubles with each failure and starts
	// anew once a session has been online for Stable.
	BackoffMin time.Duration // 1 s
	BackoffMax time.Duration // 5 min
	Stable     time.Duration // 1 min

	// BreakAfter tenants failed and none got through in between, nobody connects for BreakMin, then one session tries; while it fails
	// the wait doubles up to BreakMax.
	BreakAfter int           // 20
	BreakMin   time.Duration // 10 s
	BreakMax   time.Duration // 5 min

	// DialTimeout bounds opening the connection, LoginTimeout the time from then to being online.
	DialTimeout  time.Duration // 40 s
	LoginTimeout time.Duration // 90 s
	// LoginGrace is how long a freshly paired session waits for WhatsApp to end the pairing connection before it logs in anyway.
	LoginGrace time.Duration // 5 s
	// PairTimeout bounds a pairing from its start to the phone's consent. WhatsApp itself gives up after 160 s.
	PairTimeout time.Duration // 3 min
	// QRFirst and QRNext are how long QR codes are shown: the first, and each that follows.
	QRFirst, QRNext time.Duration // 60 s, 20 s

	// MissedPings in a row end a connection. whatsmeow pings every 20 to 30 s and waits 10 s for the answer.
	MissedPings int // 2
	// OutdatedRetry is how often an outdated client tries again: the server may have changed its mind, or the version.
	OutdatedRetry time.Duration // 6 h
	// BanRetry is when a banned session tries again if WhatsApp did not say how long the ban lasts.
	BanRetry time.Duration // 6 h

	// SendTimeout is how long WhatsApp has to acknowledge a message, LookupTimeout to answer a question.
	SendTimeout   time.Duration // 25 s
	LookupTimeout time.Duration // 10 s
	// UploadTimeout is how long WhatsApp has to take a file, DownloadTimeout to deliver one, ReuploadTimeout the phone to upload
	// one again that WhatsApp has dropped.
	UploadTimeout   time.Duration // 55 s
	DownloadTimeout time.Duration // 55 s
	ReuploadTimeout time.Duration // 25 s
	// SendPatience is how long a send waits for its turn within the tenant's pace of sends before it is refused.
	SendPatience time.Duration // 2 s
	// ReachoutPause is how long sends to new contacts pause when WhatsApp refuses one without telling until when; it doubles while
	// it goes on to refuse them, up to a day.
	ReachoutPause time.Duration // 1 h
	// SyncTimeout bounds taking over all chats and settings.
	SyncTimeout time.Duration // 80 s
	// HistoryPage is how long the phone has to answer one request for history, HistoryTimeout all of them together.
	HistoryPage    time.Duration // 25 s
	HistoryTimeout time.Duration // 80 s
	// ResendAge is how long a message that WhatsApp never acknowledged is sent again; then it becomes failed.
	ResendAge time.Duration // 24 h
	// StoreTimeout bounds one call of the store, StoreBlocked how long an inbound message waits for a store that is away before
	// the connection is given up with the message unacknowledged. whatsmeow moves on to the next message after 300 s.
	StoreTimeout time.Duration // 30 s
	StoreBlocked time.Duration // 4 min
	// RushPatience is how long at most what waited for other sessions comes before what a session looks up after its login.
	RushPatience time.Duration // 5 s
	// GroupsEvery is how often at most a session that connects again asks for all its groups.
	GroupsEvery time.Duration // 10 min
	// Calm is how long a passing state must last before it is journalled.
	Calm time.Duration // 3 s
	// Linger is how long a session without a device is kept in memory after its pairing.
	Linger time.Duration // 10 min
	// DrainTimeout bounds stopping: sends under way are cut off after it.
	DrainTimeout time.Duration // 20 s
}

// withDefaults resolves what is zero.
func withDefaults(p Pace) Pace {
	set := func(d *time.Duration, value time.Duration) { *d = cmp.Or(*d, value) }
	p.Connects = cmp.Or(p.Connects, 25)
	p.Burst = cmp.Or(p.Burst, 25)
	p.Dials = cmp.Or(p.Dials, 32)
	p.BreakAfter = cmp.Or(p.BreakAfter, 20)
	p.MissedPings = cmp.Or(p.MissedPings, 2)
	set(&p.BackoffMin, time.Second)
	set(&p.BackoffMax, 5*time.Minute)
	set(&p.Stable, time.Minute)
	set(&p.BreakMin, 10*time.Second)
	set(&p.BreakMax, 5*time.Minute)
	set(&p.DialTimeout, 40*time.Second)
	set(&p.LoginTimeout, 90*time.Second)
	set(&p.LoginGrace, 5*time.Second)
	set(&p.PairTimeout, 3*time.Minute)
	set(&p.QRFirst, time.Minute)
	set(&p.QRNext, 20*time.Second)
	set(&p.OutdatedRetry, 6*time.Hour)
	set(&p.BanRetry, 6*time.Hour)
	set(&p.SendTimeout, 25*time.Second)
	set(&p.LookupTimeout, 10*time.Second)
	set(&p.SendPatience, 2*time.Second)
	set(&p.ReachoutPause, time.Hour)
	set(&p.UploadTimeout, 55*time.Second)
	set(&p.DownloadTimeout, 55*time.Second)
	set(&p.ReuploadTimeout, 25*time.Second)
	set(&p.SyncTimeout, 80*time.Second)
	set(&p.HistoryPage, 25*time.Second)
	set(&p.HistoryTimeout, 80*time.Second)
	set(&p.ResendAge, 24*time.Hour)
	set(&p.RushPatience, 5*time.Second)
	set(&p.StoreTimeout, 30*time.Second)
	set(&p.StoreBlocked, 4*time.Minute)
	set(&p.Calm, 3*time.Second)
	set(&p.GroupsEvery, 10*time.Minute)
	set(&p.Linger, 10*time.Minute)
	set(&p.DrainTimeout, 20*time.Second)
	return p
}

func (c *Config) validate() error {
	var faults []error
	require := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what+" is missing"))
		}
	}
	require(c.Store != nil, "store")
	require(c.Devices != nil, "devices")
	require(c.Clients != nil, "clients")
	require(c.Metrics != nil, "metrics")
	require(c.Log != nil, "log")
	return errors.Join(faults...)
}

// Names under which phones list us among their linked devices.
const (
	deviceName = "wafleet"
	// pairDisplay must have the form "Browser (OS)": WhatsApp checks it when pairing by code.
	pairDisplay = "Chrome (Linux)"
)

// Configure sets whatsmeow's process globals: the name under which phones list our devices, and how much history they send.
// Call it once, before the first session and never beside one: whatsmeow reads them without a lock.
func Configure() {
	store.SetOSInfo(deviceName, [3]uint32{1, 0, 0})
	store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_CHROME.Enum()
	store.DeviceProps.RequireFullSync = new(false)
}
