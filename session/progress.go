package session

import (
	"encoding/json"
	"time"

	"go.mau.fi/whatsmeow/proto/waHistorySync"

	"github.com/wafleet/wafleet/tenant"
)

// tellPage tells who watches that a page of a chat's history has come.
func (c *conn) tellPage(run *backfill) {
	c.backfills.mu.Lock()
	defer c.backfills.mu.Unlock()
	c.tellFetched(run, false)
}

// tellFetched tells who watches how far a fetch of a chat's history has come. The mutex of backfills is held.
func (c *conn) tellFetched(run *backfill, done bool) {
	c.tellProgress(&tenant.HistoryProgress{ChatID: run.chat, Received: run.came, Limit: run.limit, Done: done})
}

// tellTaken tells who watches that a history was taken over which the phone has sent by itself.
func (c *conn) tellTaken(blob *waHistorySync.HistorySync, came int) {
	var which tenant.HistorySync
	switch blob.GetSyncType() { //nolint:exhaustive // the others have no messages
	case waHistorySync.HistorySync_INITIAL_BOOTSTRAP:
		which = tenant.HistoryBootstrap
	case waHistorySync.HistorySync_RECENT:
		which = tenant.HistoryRecent
	case waHistorySync.HistorySync_FULL:
		which = tenant.HistoryFull
	default:
		return
	}
	news := tenant.HistoryProgress{Sync: which, Received: came, Done: true}
	if blob.Progress != nil {
		percent := int(min(blob.GetProgress(), 100))
		news.Progress, news.Done = &percent, percent == 100
	}
	c.tellProgress(&news)
}

func (c *conn) tellProgress(news *tenant.HistoryProgress) {
	a := c.actor
	data, err := json.Marshal(news)
	if err != nil {
		return
	}
	a.fleet.live.publish(a.id, tenant.Event{Type: tenant.EventHistoryProgress, Timestamp: time.Now().UTC(), Data: data})
}
