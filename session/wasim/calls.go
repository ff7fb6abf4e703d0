package wasim

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// account is how the control API shows a phone.
type account struct {
	Phone      string   `json:"phone"`
	Name       string   `json:"name"`
	LID        string   `json:"lid"`
	Online     bool     `json:"online"`
	Companions []uint16 `json:"companions"`
}

func accountOf(p *phone.Phone) account {
	return account{Phone: p.Number(), Name: p.Name(), LID: p.LID().User, Online: p.Online(), Companions: p.Companions()}
}

func (s *Simulator) postAccount(r *http.Request) (int, any, error) {
	var in struct {
		Phone     string        `json:"phone"`
		Name      string        `json:"name"`
		Autoreply string        `json:"autoreply"`
		AutoRead  bool          `json:"autoRead"`
		History   *[]phone.Chat `json:"history"`
	}
	if err := decode(r, &in); err != nil {
		return 0, nil, err
	}
	cfg := PhoneConfig{Phone: in.Phone, Name: in.Name, Autoreply: autoreply(in.Autoreply), AutoRead: in.AutoRead}
	if in.History != nil {
		cfg.History = append([]phone.Chat{}, *in.History...)
		for _, c := range cfg.History {
			if err := c.Check(); err != nil {
				return 0, nil, badRequest("history: %w", err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	p, err := s.AddPhone(ctx, cfg)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, accountOf(p), nil
}

// autoreply reads the option of that name: "echo" says the same again, anything else is said with {text} filled in.
func autoreply(option string) func(string) string {
	switch option {
	case "":
		return nil
	case "echo":
		return func(text string) string { return text }
	default:
		return func(text string) string { return strings.ReplaceAll(option, "{text}", text) }
	}
}

func (s *Simulator) getAccounts(*http.Request) (int, any, error) {
	list := []account{}
	for _, p := range s.Phones() {
		list = append(list, accountOf(p))
	}
	return http.StatusOK, map[string][]account{"accounts": list}, nil
}

type paired struct {
	Device uint16 `json:"device"`
}

func (s *Simulator) postScan(r *http.Request) (int, any, error) {
	var in struct {
		QR string `json:"qr"`
	}
	return s.pair(r, &in, func(ctx context.Context, p *phone.Phone) (uint16, error) { return p.Scan(ctx, in.QR) })
}

func (s *Simulator) postLink(r *http.Request) (int, any, error) {
	var in struct {
		Code string `json:"code"`
	}
	return s.pair(r, &in, func(ctx context.Context, p *phone.Phone) (uint16, error) { return p.Link(ctx, in.Code) })
}

// pairTime is how long a phone waits for its part of a pairing.
const pairTime = 20 * time.Second

func (s *Simulator) pair(r *http.Request, in any, do func(context.Context, *phone.Phone) (uint16, error)) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err = decode(r, in); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), pairTime)
	defer cancel()
	device, err := do(ctx, p)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, paired{device}, nil
}

func (s *Simulator) postRead(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Chat string   `json:"chat"`
		IDs  []string `json:"ids"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > 256 {
		return 0, nil, badRequest("ids has no entry, or more than 256")
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err = p.MarkRead(ctx, in.Chat, in.IDs); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (s *Simulator) getInbox(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var after uint64
	if raw := r.URL.Query().Get("after"); raw != "" {
		if after, err = strconv.ParseUint(raw, 10, 64); err != nil {
			return 0, nil, badRequest("after is not a sequence number")
		}
	}
	wait, err := parseWait(r.URL.Query().Get("wait"))
	if err != nil {
		return 0, nil, err
	}
	entries := p.Inbox(after)
	if len(entries) == 0 && wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		entries, err = p.WaitInbox(ctx, after)
		if err != nil && (r.Context().Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return 0, nil, err
		}
	}
	last := after
	if len(entries) > 0 {
		last = entries[len(entries)-1].Seq
	}
	return http.StatusOK, struct {
		Entries []phone.Entry `json:"entries"`
		Next    uint64        `json:"next"` // the value of after for the next call
	}{append([]phone.Entry{}, entries...), last}, nil
}

func (s *Simulator) postUnlink(r *http.Request) (int, any, error) {
	p, err := s.phoneOf(r)
	if err != nil {
		return 0, nil, err
	}
	var in struct {
		Device uint16 `json:"device"`
	}
	if err = decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Device == 0 {
		return 0, nil, badRequest("device is missing; 0 is the phone itself")
	}
	if err = s.relay.Unlink(p.Number(), in.Device); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (s *Simulator) postFault(r *http.Request) (int, any, error) {
	var in struct {
		Kind    string `json:"kind"`
		Phone   string `json:"phone"`
		Primary bool   `json:"primary"`
		Device  uint16 `json:"device"`
		Code    int    `json:"code"`
		Count   int    `json:"count"`
		DelayMS int    `json:"delayMs"`
	}
	if err := decode(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Phone != "" {
		number, err := phone.Number(in.Phone)
		if err != nil {
			return 0, nil, err
		}
		in.Phone = number
	}
	err := s.relay.Fault(relay.Fault{
		Kind: relay.FaultKind(in.Kind), Phone: in.Phone, Primary: in.Primary, Device: in.Device,
		Code: in.Code, Count: in.Count, Delay: time.Duration(in.DelayMS) * time.Millisecond,
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (s *Simulator) deleteFaults(*http.Request) (int, any, error) {
	s.relay.ClearFaults()
	return http.StatusNoContent, nil, nil
}

// stats is [relay.Stats] for the wire.
type stats struct {
	Accounts    int `json:"accounts"`
	Connections int `json:"connections"`
	Unpaired    int `json:"unpaired"`
	Active      int `json:"active"`

	Received map[string]int64 `json:"received"`
	Sent     map[string]int64 `json:"sent"`

	Unacknowledged        int            `json:"unacknowledged"`
	UnacknowledgedByPhone map[string]int `json:"unacknowledgedByPhone"`
	UnacknowledgedMessage int            `json:"unacknowledgedMessages"`
	Queues                map[string]int `json:"queues"`

	Dropped     int64          `json:"dropped"`
	CutSlow     int64          `json:"cutSlow"`
	StrayAcks   int64          `json:"strayAcks"`
	UnknownIQs  map[string]int `json:"unknownIqs"`
	Violations  []violation    `json:"violations"`
	Blobs       int            `json:"blobs"`
	BlobBytes   int64          `json:"blobBytes"`
	FaultsArmed int            `json:"faultsArmed"`
}

type violation struct {
	Phone  string `json:"phone"`
	Device uint16 `json:"device"`
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
}

func (s *Simulator) getStats(*http.Request) (int, any, error) {
	st := s.relay.Stats()
	out := stats{
		Accounts: st.Accounts, Connections: st.Connections, Unpaired: st.Unpaired, Active: st.Active,
		Received: st.Received, Sent: st.Sent,
		Unacknowledged: st.Unacknowledged, UnacknowledgedByPhone: st.UnacknowledgedByPhone,
		UnacknowledgedMessage: st.Messages, Queues: st.Queues,
		Dropped: st.Dropped, CutSlow: st.CutSlow, StrayAcks: st.StrayAcks, UnknownIQs: st.UnknownIQs,
		Violations: []violation{}, Blobs: st.Blobs, BlobBytes: st.BlobBytes, FaultsArmed: st.FaultsArmed,
	}
	for _, v := range st.Violations {
		out.Violations = append(out.Violations, violation(v))
	}
	return http.StatusOK, out, nil
}

func (s *Simulator) getInfo(*http.Request) (int, any, error) {
	return http.StatusOK, s.info, nil
}
