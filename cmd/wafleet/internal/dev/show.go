package dev

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// try is something to try.
type try struct {
	title string
	lines []string
}

// show prints what to try. The curl lines hold all they need: each can be copied into a shell by itself, and a test runs them
// as they are printed.
func show(w io.Writer, e *env, envPath string) error {
	var b strings.Builder
	path, err := filepath.Abs(envPath)
	if err != nil {
		path = envPath
	}
	ana := contacts()[0]
	fmt.Fprintf(&b, `
A node is running, with a simulated WhatsApp. The tenant %q is linked with its phone; Ana and Bruno answer, also in the
group that the three are in.

  API          %[2]s         docs  %[2]s/docs
  admin API    %[2]s/admin   docs  %[2]s/admin/docs
  metrics      %[2]s/metrics
  simulator    %[3]s         calls %[3]s/
  variables    %[4]s

`, shop.name, e.URL, e.SimURL, path)
	for _, t := range tries(e) {
		fmt.Fprintf(&b, "# %s\n", t.title)
		for _, line := range t.lines {
			b.WriteString(line + "\n")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, `Events as they happen, with any WebSocket client: %s/ws?apiKey=%s&since=0
Write to %s's number from the phone of another account, make accounts, break the connection: see %s/

Ctrl-C ends it. What was stored stays in %s, and the keys stay the same. The simulated WhatsApp is made anew at each start: this
tenant is paired with it anew, and only this one. Phones that you made by hand are gone, and tenants that you paired with them have to be
paired again.
`, strings.Replace(e.URL, "http", "ws", 1), e.APIKey, ana.name, e.SimURL, filepath.Dir(path))
	if _, err = io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print what to try: %w", err)
	}
	return nil
}

func tries(e *env) []try {
	tenant := func(rest string) string { return "curl -s -H 'X-API-Key: " + e.APIKey + "' " + rest }
	admin := func(rest string) string { return "curl -s -H 'Authorization: Bearer " + e.AdminKey + "' " + rest }
	send := func(to, body string) string {
		return tenant("-H 'Content-Type: application/json' -d '" + body + "' " + e.URL + "/api/chats/" + to + "@c.us/messages")
	}
	sim := func(path string) string { return "curl -s " + e.SimURL + path }
	ana, bruno := contacts()[0], contacts()[1]
	chat := e.URL + "/api/chats/" + ana.number + "@c.us"
	return []try{
		{"Is it connected?", []string{tenant(e.URL + "/api/status")}},
		{"The chats that came with the phone's history, and Ana's messages", []string{
			tenant(e.URL + "/api/chats"),
			tenant(chat + "/messages"),
		}},
		{"Write to Ana and to Bruno, by number; they answer", []string{
			send(ana.number, `{"message":"Fresh bread at five!"}`),
			send(bruno.number, `{"message":"Your cake is ready."}`),
		}},
		{"Reply to what Ana asked", []string{
			send(ana.number, `{"message":"Yes, twenty.","replyTo":"`+asked+`"}`),
		}},
		{"The group that Ana made; what is written to it goes to all, and Ana and Bruno answer", []string{
			tenant(e.URL + "/api/chats/" + e.Group),
			tenant("-H 'Content-Type: application/json' -d '" + `{"message":"Ten each?"}` + "' " + e.URL + "/api/chats/" + e.Group + "/messages"),
			tenant(e.URL + "/api/chats/" + e.Group + "/messages"),
		}},
		{"All that happened, in order; with wait, a call waits for the next event", []string{
			tenant("'" + e.URL + "/api/events?after=0&wait=5'"),
		}},
		{"Ana writes by herself; what her phone has got", []string{
			sim("/accounts/" + ana.number + `/send -H 'Content-Type: application/json' -d '{"to":"` + shop.number + `","text":"Keep two for me, please."}'`),
			sim("/accounts/" + ana.number + "/inbox"),
		}},
		{"The group as WhatsApp knows it; Bruno writes in it", []string{
			sim("/groups/" + e.Group),
			sim("/accounts/" + bruno.number + `/send -H 'Content-Type: application/json' -d '{"to":"` + e.Group + `","text":"I bring butter."}'`),
		}},
		{"As the operator: tenants, this one's session, its keys", []string{
			admin(e.URL + "/admin/tenants"),
			admin(e.URL + "/admin/tenants/" + e.Tenant + "/session"),
			admin(e.URL + "/admin/tenants/" + e.Tenant + "/keys"),
		}},
		{"Cut the connection to WhatsApp, and see it come back", []string{
			sim(`/faults -H 'Content-Type: application/json' -d '{"kind":"drop","phone":"` + shop.number + `"}'`),
			tenant(e.URL + "/api/session"),
		}},
		{"Metrics", []string{"curl -s " + e.URL + "/metrics"}},
	}
}
