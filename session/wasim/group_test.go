package wasim_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
	"github.com/wafleet/wafleet/session/wasim/relay"
)

// crew is some phones on one simulator, and calls of its control API.
type crew struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // a test's
	sim *wasim.Simulator
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	return &crew{t, within(t), startSim(t)}
}

func (c *crew) phone(name string) *phone.Phone {
	c.t.Helper()
	return addPhone(c.t, c.sim, wasim.PhoneConfig{Name: name})
}

// does makes a call that must answer this status; body is what JSON says of it.
func (c *crew) does(want int, method, path string, body any) map[string]any {
	c.t.Helper()
	raw := ""
	if body != nil {
		data, err := json.Marshal(body)
		require.NoError(c.t, err)
		raw = string(data)
	}
	status, answer := call(c.ctx, c.t, c.sim, method, path, raw)
	require.Equal(c.t, want, status, "%s %s: %v", method, path, answer)
	return answer
}

type object = map[string]any

func numbers(phones ...*phone.Phone) []string {
	list := make([]string, len(phones))
	for i, p := range phones {
		list[i] = "+" + p.Number()
	}
	return list
}

// group makes one of these phones, the first being its owner.
func (c *crew) group(owner *phone.Phone, others ...*phone.Phone) string {
	c.t.Helper()
	return c.groupBy("lid", owner, others...)
}

func (c *crew) groupBy(addressing string, owner *phone.Phone, others ...*phone.Phone) string {
	c.t.Helper()
	made := c.does(201, "POST", "/groups", object{
		"by": owner.Number(), "name": "Trip", "participants": numbers(others...), "addressing": addressing,
	})
	require.Equal(c.t, addressing, made["addressing"])
	for _, each := range made["results"].([]any) {
		require.InDelta(c.t, 200, each.(object)["code"], 0, "%v", each)
	}
	id := made["id"].(string)
	for _, p := range append(others, owner) {
		c.comes(p, func(e phone.Entry) bool { return e.Kind == phone.KindGroup && e.Chat == id && e.Group.Created })
	}
	return id
}

func (c *crew) sends(from *phone.Phone, to string, what object) string {
	c.t.Helper()
	body := object{"to": to}
	maps.Copy(body, what)
	return c.does(200, "POST", "/accounts/"+from.Number()+"/send", body)["id"].(string)
}

func (c *crew) comes(at *phone.Phone, match func(phone.Entry) bool) phone.Entry {
	c.t.Helper()
	got, err := at.WaitEntry(c.ctx, 0, match)
	require.NoError(c.t, err, "%+v", at.Inbox(0))
	return got
}

func has(kind, target, text string) func(phone.Entry) bool {
	return func(e phone.Entry) bool { return e.Kind == kind && e.Target == target && e.Text == text }
}

func TestPhonesTalkInAGroup(t *testing.T) {
	t.Parallel()
	inBothModes(t, talk)
}

// inBothModes runs a test in a group that knows its members by LID, and in one that knows them by number.
func inBothModes(t *testing.T, test func(t *testing.T, addressing string)) {
	t.Helper()
	for _, addressing := range []string{"lid", "pn"} {
		t.Run(addressing, func(t *testing.T) {
			t.Parallel()
			test(t, addressing)
		})
	}
}

func talk(t *testing.T, addressing string) {
	t.Helper()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	g := c.groupBy(addressing, ana, bob, eve)
	all := []*phone.Phone{ana, bob, eve}
	others := func(p *phone.Phone) []*phone.Phone {
		return slices.DeleteFunc(slices.Clone(all), func(o *phone.Phone) bool { return o == p })
	}
	ids := map[*phone.Phone]string{}
	for _, from := range all {
		text := "from " + from.Name()
		ids[from] = c.sends(from, g, object{"text": text})
		for _, to := range others(from) {
			got := c.comes(to, has(phone.KindMessage, "", text))
			require.Equal(t, []string{ids[from]}, got.IDs)
			require.Equal(t, g, got.Chat)
			require.Equal(t, from.Number(), got.From)
			require.Equal(t, addressing, got.Via)
			// each member says that it came
			c.comes(from, func(e phone.Entry) bool {
				return isReceipt("delivered", ids[from])(e) && e.From == to.Number() && e.Chat == g
			})
		}
	}
	c.does(204, "POST", "/accounts/"+eve.Number()+"/read", object{"chat": g, "ids": []string{ids[ana], ids[bob]}})
	for _, from := range []*phone.Phone{ana, bob} {
		c.comes(from, func(e phone.Entry) bool {
			return isReceipt("read", ids[from])(e) && e.From == eve.Number() && e.Chat == g && !slices.Contains(e.IDs, ids[eve])
		})
	}
	c.does(204, "POST", "/accounts/"+bob.Number()+"/typing", object{"to": g, "state": "composing"})
	typing := c.comes(ana, has(phone.KindTyping, "", "composing"))
	require.Equal(t, []string{g, bob.Number()}, []string{typing.Chat, typing.From})

	answer := c.sends(bob, g, object{"text": "answer", "replyTo": ids[ana], "mentions": numbers(eve)})
	got := c.comes(eve, has(phone.KindMessage, "", "answer"))
	require.Equal(t, []string{answer}, got.IDs)
	require.Equal(t, []string{ids[ana], ana.Number()}, []string{got.ReplyTo, got.QuotedFrom})
	require.Equal(t, []string{eve.Number()}, got.Mentions)

	file := c.sends(ana, g, object{"text": "look", "media": object{"kind": "image", "size": 2000}})
	for _, p := range []*phone.Phone{bob, eve} {
		require.Equal(t, uint64(2000), c.comes(p, has(phone.KindMessage, "", "look")).File.Size)
	}
	require.Equal(t, 200, statusOf(c, "GET", "/accounts/"+eve.Number()+"/media?id="+file), "a member fetches it")

	c.sends(eve, g, object{"reaction": object{"id": ids[ana], "emoji": "👍"}})
	for _, to := range []*phone.Phone{ana, bob} {
		require.Equal(t, ana.Number(), c.comes(to, has(phone.KindReaction, ids[ana], "👍")).TargetFrom)
	}
	c.sends(ana, g, object{"edit": object{"id": ids[ana], "text": "better"}})
	require.Equal(t, ana.Number(), c.comes(bob, has(phone.KindEdit, ids[ana], "better")).TargetFrom)
	c.sends(bob, g, object{"delete": object{"id": ids[bob]}})
	require.Equal(t, bob.Number(), c.comes(eve, has(phone.KindDelete, ids[bob], "")).TargetFrom)
	// an admin deletes what another wrote, and nobody else does
	status, problem := call(c.ctx, t, c.sim, "POST", "/accounts/"+bob.Number()+"/send", fmt.Sprintf(`{"to":%q,"delete":{"id":%q}}`, g, ids[eve]))
	require.Equal(t, []any{403, "NOT_ALLOWED"}, []any{status, problem["code"]})
	c.sends(ana, g, object{"delete": object{"id": ids[eve]}})
	require.Equal(t, eve.Number(), c.comes(bob, has(phone.KindDelete, ids[eve], "")).TargetFrom)
	for _, p := range all {
		for _, e := range p.Inbox(0) {
			require.NotEqual(t, phone.KindUndecryptable, e.Kind, "%+v", e)
		}
	}
}

func statusOf(c *crew, method, path string) int {
	status, _ := call(c.ctx, c.t, c.sim, method, path, "")
	return status
}

// An id is its sender's own.
func TestMembersMayUseTheSameID(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	g := c.group(ana, bob, eve)
	for _, from := range []*phone.Phone{ana, bob} {
		c.sends(from, g, object{"text": "from " + from.Name(), "id": "SAME"})
		require.Equal(t, []string{"SAME"}, c.comes(eve, has(phone.KindMessage, "", "from "+from.Name())).IDs)
	}
	c.comes(ana, has(phone.KindMessage, "", "from Bob"))
	for _, of := range []*phone.Phone{ana, bob} {
		c.sends(eve, g, object{"text": "about " + of.Name(), "replyTo": "SAME", "replyFrom": of.Number()})
		require.Equal(t, of.Number(), c.comes(ana, has(phone.KindMessage, "", "about "+of.Name())).QuotedFrom)
		emoji := of.Name()[:1]
		c.sends(eve, g, object{"reaction": object{"id": "SAME", "from": of.Number(), "emoji": emoji}})
		require.Equal(t, of.Number(), c.comes(ana, has(phone.KindReaction, "SAME", emoji)).TargetFrom)
	}
	c.sends(ana, g, object{"delete": object{"id": "SAME", "from": bob.Number()}})
	require.Equal(t, bob.Number(), c.comes(eve, has(phone.KindDelete, "SAME", "")).TargetFrom)
	// both authors hear that it was read
	c.does(204, "POST", "/accounts/"+eve.Number()+"/read", object{"chat": g, "ids": []string{"SAME"}})
	for _, of := range []*phone.Phone{ana, bob} {
		c.comes(of, isReceipt("read", "SAME"))
	}
}

func TestACompanionSeesWhatItsPhoneSaysInAGroupAndTheOtherWayRound(t *testing.T) {
	t.Parallel()
	inBothModes(t, withCompanion)
}

func withCompanion(t *testing.T, addressing string) {
	t.Helper()
	c := newCrew(t)
	ana, bob := c.phone("Ana"), c.phone("Bob")
	known := func(p *phone.Phone) types.JID {
		if addressing == "pn" {
			return types.NewJID(p.Number(), types.DefaultUserServer)
		}
		return p.LID()
	}
	web := link(c.ctx, t, c.sim, ana, true)
	g := c.groupBy(addressing, ana, bob)
	jid, err := types.ParseJID(g)
	require.NoError(t, err)
	hears := func(text string) *events.Message {
		t.Helper()
		var got *events.Message
		require.NoError(t, web.wait(c.ctx, func() bool {
			for _, m := range web.messages {
				if m.Message.GetConversation() == text {
					got = m
				}
			}
			return got != nil
		}))
		return got
	}
	id := c.sends(ana, g, object{"text": "from the phone"})
	got := hears("from the phone")
	require.Equal(t, []any{id, true, jid}, []any{got.Info.ID, got.Info.IsFromMe, got.Info.Chat})
	c.sends(bob, g, object{"text": "hello you two"})
	require.Equal(t, known(bob), hears("hello you two").Info.Sender.ToNonAD())

	require.NoError(t, web.gate.Send(c.ctx, func(ctx context.Context) error {
		_, err := web.cli.SendMessage(ctx, jid, &waE2E.Message{Conversation: new("from the web")}, whatsmeow.SendRequestExtra{ID: "WEB"})
		return err
	}))
	own := c.comes(ana, has(phone.KindMessage, "", "from the web"))
	require.True(t, own.FromMe)
	require.Equal(t, uint16(1), own.FromDevice)
	require.Equal(t, ana.Number(), c.comes(bob, has(phone.KindMessage, "", "from the web")).From)
	c.does(204, "POST", "/accounts/"+bob.Number()+"/read", object{"chat": g, "ids": []string{"WEB"}})
	require.NoError(t, web.wait(c.ctx, func() bool {
		return slices.ContainsFunc(web.receipts, func(r *events.Receipt) bool {
			return r.Type == types.ReceiptTypeRead && slices.Contains(r.MessageIDs, "WEB") && r.Sender.ToNonAD() == known(bob) && r.Chat == jid
		})
	}))
	require.Empty(t, web.failed)
}

func TestAGroupIsRunOverTheControlAPI(t *testing.T) {
	t.Parallel()
	inBothModes(t, runGroup)
}

func runGroup(t *testing.T, addressing string) {
	t.Helper()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	g := c.groupBy(addressing, ana, bob)
	path := "/groups/" + g
	roles := func() map[string]any {
		got := map[string]any{}
		for _, each := range c.does(200, "GET", path, nil)["participants"].([]any) {
			got[each.(object)["phone"].(string)] = each.(object)["role"]
		}
		return got
	}
	results := func(answer object) map[string]any {
		got := map[string]any{}
		for _, each := range answer["results"].([]any) {
			got[each.(object)["phone"].(string)] = each.(object)["code"]
		}
		return got
	}
	changed := func(at, by *phone.Phone, match func(*phone.GroupChange) bool) {
		t.Helper()
		got := c.comes(at, func(e phone.Entry) bool { return e.Kind == phone.KindGroup && e.Chat == g && match(e.Group) })
		require.Equal(t, by.Number(), got.From)
	}
	require.Equal(t, map[string]any{ana.Number(): "owner", bob.Number(): "member"}, roles())

	// members, with a result each
	nobody := number()
	answer := c.does(200, "POST", path+"/participants", object{"by": ana.Number(), "add": append(numbers(eve, bob), nobody)})
	require.Equal(t, map[string]any{eve.Number(): 200.0, bob.Number(): 409.0, nobody: 404.0}, results(answer))
	changed(bob, ana, func(ch *phone.GroupChange) bool { return slices.Equal(ch.Added, []string{eve.Number()}) })
	changed(eve, ana, func(ch *phone.GroupChange) bool { return ch.Created && len(ch.Added) == 3 })
	c.does(200, "POST", path+"/participants", object{"by": ana.Number(), "promote": numbers(bob)})
	changed(eve, ana, func(ch *phone.GroupChange) bool { return slices.Equal(ch.Promoted, []string{bob.Number()}) })
	require.Equal(t, "admin", roles()[bob.Number()])
	require.Equal(t, map[string]any{ana.Number(): 403.0},
		results(c.does(200, "POST", path+"/participants", object{"by": bob.Number(), "demote": numbers(ana)})), "nobody demotes the owner")
	c.does(200, "POST", path+"/participants", object{"by": ana.Number(), "demote": numbers(bob)})
	changed(eve, ana, func(ch *phone.GroupChange) bool { return slices.Equal(ch.Demoted, []string{bob.Number()}) })
	require.Equal(t, "NOT_ALLOWED", c.does(403, "POST", path+"/participants", object{"by": bob.Number(), "remove": numbers(eve)})["code"])
	c.does(200, "POST", path+"/participants", object{"by": ana.Number(), "remove": numbers(eve)})
	changed(bob, ana, func(ch *phone.GroupChange) bool { return slices.Equal(ch.Removed, []string{eve.Number()}) })
	require.Equal(t, "NOT_ALLOWED", c.does(403, "POST", "/accounts/"+eve.Number()+"/send", object{"to": g, "text": "still here?"})["code"])

	// what it is called and who may do what
	shown := c.does(200, "PATCH", path, object{
		"by": ana.Number(), "name": "Tour", "description": "By bike", "announce": true, "locked": true, "joinApproval": true, "memberAdd": "admins",
		"picture": base64.StdEncoding.EncodeToString([]byte("\xff\xd8\xff a picture")),
	})
	for key, want := range (object{
		"name": "Tour", "description": "By bike", "announce": true, "locked": true, "joinApproval": true, "memberAdd": "admins",
	}) {
		require.Equal(t, want, shown[key], key)
	}
	require.NotEmpty(t, shown["picture"])
	changed(bob, ana, func(ch *phone.GroupChange) bool { return ch.Name != nil && *ch.Name == "Tour" })
	changed(bob, ana, func(ch *phone.GroupChange) bool { return ch.Description != nil && *ch.Description == "By bike" })
	changed(bob, ana, func(ch *phone.GroupChange) bool { return ch.Announce != nil && *ch.Announce })
	changed(bob, ana, func(ch *phone.GroupChange) bool { return ch.Locked != nil && *ch.Locked })
	changed(bob, ana, func(ch *phone.GroupChange) bool { return ch.Picture != nil && *ch.Picture != "" })
	require.Equal(t, "NOT_ALLOWED", c.does(403, "PATCH", path, object{"by": bob.Number(), "name": "Mine"})["code"])
	require.Equal(t, "NOT_ALLOWED", c.does(403, "POST", "/accounts/"+bob.Number()+"/send", object{"to": g, "text": "may I?"})["code"])
	shown = c.does(200, "PATCH", path, object{
		"by": ana.Number(), "description": "", "announce": false, "locked": false, "joinApproval": false, "memberAdd": "all", "picture": "remove",
	})
	for _, key := range []string{"announce", "locked", "joinApproval"} {
		require.Equal(t, false, shown[key], key)
	}
	require.Equal(t, []any{"", "all", nil}, []any{shown["description"], shown["memberAdd"], shown["picture"]})
	c.sends(bob, g, object{"text": "thank you"})
	c.comes(ana, has(phone.KindMessage, "", "thank you"))

	// the end
	c.does(204, "POST", path+"/leave", object{"by": ana.Number()})
	changed(bob, ana, func(ch *phone.GroupChange) bool { return slices.Equal(ch.Removed, []string{ana.Number()}) })
	require.Equal(t, map[string]any{bob.Number(): "admin"}, roles(), "a group has an admin")
	c.does(204, "POST", path+"/leave", object{"by": bob.Number()})
	require.Equal(t, "UNKNOWN_GROUP", c.does(404, "GET", path, nil)["code"])
	require.Equal(t, "UNKNOWN_GROUP", c.does(404, "POST", "/accounts/"+eve.Number()+"/send", object{"to": "1203630@g.us", "text": "?"})["code"])
}

func TestGroupsAreJoined(t *testing.T) {
	t.Parallel()
	inBothModes(t, joinGroup)
}

func joinGroup(t *testing.T, addressing string) {
	t.Helper()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	g := c.groupBy(addressing, ana)
	path := "/groups/" + g

	require.Equal(t, "NOT_A_MEMBER", c.does(403, "POST", path+"/invite", object{"by": bob.Number()})["code"])
	old := c.does(200, "POST", path+"/invite", object{"by": ana.Number()})
	fresh := c.does(200, "POST", path+"/invite", object{"by": ana.Number(), "reset": true})
	require.NotEqual(t, old["code"], fresh["code"])
	require.Equal(t, "https://chat.whatsapp.com/"+fresh["code"].(string), fresh["link"])
	require.Equal(t, "INVITE_GONE", c.does(410, "POST", "/groups/join/"+old["code"].(string), object{"by": bob.Number()})["code"])
	require.Equal(t, "UNKNOWN_INVITE", c.does(404, "POST", "/groups/join/nonsense", object{"by": bob.Number()})["code"])
	join := "/groups/join/" + fresh["code"].(string)
	require.Equal(t, object{"id": g, "pending": false}, c.does(200, "POST", join, object{"by": bob.Number()}))
	require.Equal(t, "MEMBER_ALREADY", c.does(409, "POST", join, object{"by": bob.Number()})["code"])
	c.sends(bob, g, object{"text": "here I am"})
	c.comes(ana, has(phone.KindMessage, "", "here I am"))

	// with approval
	c.does(200, "PATCH", path, object{"by": ana.Number(), "joinApproval": true})
	for _, decision := range []string{"reject", "approve"} {
		require.Equal(t, object{"id": g, "pending": true}, c.does(202, "POST", join, object{"by": eve.Number()}))
		for _, query := range []string{"", "?by=" + ana.Number()} {
			require.Equal(t, []any{eve.Number()}, c.does(200, "GET", path+"/requests"+query, nil)["requests"])
		}
		require.Equal(t, "NOT_ALLOWED", c.does(403, "POST", path+"/requests", object{"by": bob.Number(), decision: numbers(eve)})["code"])
		answer := c.does(200, "POST", path+"/requests", object{"by": ana.Number(), decision: numbers(eve)})
		require.Equal(t, []any{object{"phone": eve.Number(), "code": 200.0}}, answer["results"])
		require.Empty(t, c.does(200, "GET", path+"/requests", nil)["requests"])
	}
	c.comes(eve, func(e phone.Entry) bool { return e.Kind == phone.KindGroup && e.Chat == g && e.Group.Created })
	c.sends(ana, g, object{"text": "welcome, Eve"})
	c.comes(eve, has(phone.KindMessage, "", "welcome, Eve"))
}

func TestWhoMayNotBeAddedIsInvited(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana, shy := c.phone("Ana"), c.phone("Shy")
	c.does(204, "POST", "/accounts/"+shy.Number()+"/privacy", object{"groupAdd": "contacts"})
	c.does(400, "POST", "/accounts/"+shy.Number()+"/privacy", object{"groupAdd": "friends"})
	// not when the group is made, and not later
	nobody := number()
	made := c.does(201, "POST", "/groups", object{"by": ana.Number(), "name": "Trip", "participants": append(numbers(shy), nobody)})
	codes := map[string]any{}
	for _, each := range made["results"].([]any) {
		codes[each.(object)["phone"].(string)] = each.(object)["code"]
	}
	require.Equal(t, map[string]any{shy.Number(): 403.0, nobody: 404.0}, codes)
	g := made["id"].(string)
	answer := c.does(200, "POST", "/groups/"+g+"/participants", object{"by": ana.Number(), "add": numbers(shy), "invite": true})
	result := answer["results"].([]any)[0].(object)
	require.InDelta(t, 403, result["code"], 0)
	require.NotEmpty(t, result["invite"].(object)["code"])
	require.Len(t, answer["participants"], 1)

	got := c.comes(shy, func(e phone.Entry) bool { return e.Invite != nil })
	require.Equal(t, []string{g, "Trip", ana.Number()}, []string{got.Invite.Group, got.Invite.Name, got.From})
	require.Equal(t, result["invite"].(object)["code"], got.Invite.Code)
	require.Equal(t, "UNKNOWN_MESSAGE", c.does(404, "POST", "/groups/accept", object{"by": shy.Number(), "message": "NONE"})["code"])
	c.does(204, "POST", "/groups/accept", object{"by": shy.Number(), "message": got.IDs[0]})
	require.Len(t, c.does(200, "GET", "/groups/"+g, nil)["participants"], 2)
	c.sends(shy, g, object{"text": "I came"})
	c.comes(ana, has(phone.KindMessage, "", "I came"))
}

// Every member has several devices, all send at once, and everybody can read everything at the first attempt.
func TestEverybodyTalksAtOnceInAGroup(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana, bob, eve := c.phone("Ana"), c.phone("Bob"), c.phone("Eve")
	web := link(c.ctx, t, c.sim, ana, true)
	g := c.group(ana, bob, eve)
	jid, err := types.ParseJID(g)
	require.NoError(t, err)
	var retries atomic.Int64
	t.Cleanup(c.sim.Relay().Observe(func(o relay.Observation) {
		if o.Kind == relay.RetryRequested {
			retries.Add(1)
		}
	}))
	const each = 20
	var senders errgroup.Group
	want := map[string]int{}
	for _, p := range []*phone.Phone{ana, bob, eve} {
		for caller := range 2 { // two callers of one phone, and direct messages in between: they use the same sessions
			for n := range each {
				want[fmt.Sprint(p.Name(), caller, n)] = 1
			}
			senders.Go(func() error {
				for n := range each {
					if _, err := p.SendText(c.ctx, g, fmt.Sprint(p.Name(), caller, n), phone.SendOptions{}); err != nil {
						return err
					}
					if _, err := p.SendText(c.ctx, map[bool]string{true: eve.Number(), false: bob.Number()}[p != eve], "aside", phone.SendOptions{}); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	for n := range each {
		want[fmt.Sprint("Web", n)] = 1
	}
	senders.Go(func() error {
		for n := range each {
			err := web.gate.Send(c.ctx, func(ctx context.Context) error {
				_, err := web.cli.SendMessage(ctx, jid, &waE2E.Message{Conversation: new(fmt.Sprint("Web", n))})
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, senders.Wait())
	for _, p := range []*phone.Phone{ana, bob, eve} {
		got := map[string]int{}
		for text := range want {
			if !strings.HasPrefix(text, p.Name()) {
				c.comes(p, has(phone.KindMessage, "", text))
			}
		}
		for _, e := range p.Inbox(0) {
			if e.Kind == phone.KindMessage && e.Chat == g {
				got[e.Text]++
			}
			require.NotEqual(t, phone.KindUndecryptable, e.Kind)
		}
		for text, n := range got {
			require.Equal(t, want[text], n, text)
		}
	}
	require.NoError(t, web.wait(c.ctx, func() bool {
		heard := 0
		for _, m := range web.messages {
			if m.Info.Chat == jid && m.Message.GetConversation() != "" {
				heard++
			}
		}
		return heard == len(want)-each
	}))
	require.Zero(t, retries.Load())
}

func TestANoteToOneselfComesOnce(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana := c.phone("Ana")
	web := link(c.ctx, t, c.sim, ana, true)
	for _, text := range []string{"one", "two"} {
		c.sends(ana, ana.Number(), object{"text": text})
	}
	require.NoError(t, web.send(c.ctx, ana.Number(), "WEB", "from the web"))
	c.comes(ana, has(phone.KindMessage, "", "from the web"))
	require.NoError(t, web.send(c.ctx, ana.Number(), "END", "end"))
	c.comes(ana, has(phone.KindMessage, "", "end"))
	got := []string{}
	for _, e := range ana.Inbox(0) {
		if e.Kind == phone.KindMessage {
			got = append(got, e.Text)
		}
	}
	require.Equal(t, []string{"from the web", "end"}, got)
	heard := func() (list []string) {
		for _, m := range web.messages {
			if text := m.Message.GetConversation(); text != "" {
				list = append(list, text)
			}
		}
		return list
	}
	require.NoError(t, web.wait(c.ctx, func() bool { return len(heard()) >= 2 }))
	c.sends(ana, ana.Number(), object{"text": "three"})
	require.NoError(t, web.wait(c.ctx, func() bool { return slices.Contains(heard(), "three") }))
	require.NoError(t, web.wait(c.ctx, func() bool { return slices.Equal([]string{"one", "two", "three"}, heard()) }))
}

func TestContactsThatAnswerDoSoInGroups(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	ana := c.phone("Ana")
	says := func(name string) *phone.Phone {
		return addPhone(t, c.sim, wasim.PhoneConfig{Name: name, Autoreply: func(text string) string { return name + " heard " + text }})
	}
	bob, eve := says("Bob"), says("Eve")
	g := c.group(ana, bob, eve)
	for range 2 { // the same id again is the same question
		id := c.sends(ana, g, object{"text": "hello", "id": "ASKED"})
		for _, p := range []*phone.Phone{bob, eve} {
			c.comes(ana, func(e phone.Entry) bool { return isReceipt("read", id)(e) && e.From == p.Number() && e.Chat == g })
			c.comes(ana, has(phone.KindMessage, "", p.Name()+" heard hello"))
		}
	}
	// what answers by itself is not answered by what answers by itself
	c.sends(ana, g, object{"text": "end"})
	for _, p := range []*phone.Phone{bob, eve} {
		c.comes(ana, has(phone.KindMessage, "", p.Name()+" heard end"))
	}
	got := map[string]int{}
	for _, e := range ana.Inbox(0) {
		if e.Kind == phone.KindMessage {
			got[e.Text]++
		}
	}
	require.Equal(t, map[string]int{"Bob heard hello": 1, "Eve heard hello": 1, "Bob heard end": 1, "Eve heard end": 1}, got)
}

func TestARestartedSimulatorGivesGroupsTheSameIDs(t *testing.T) {
	t.Parallel()
	who, other := number(), number()
	ids := [2][]string{}
	for i := range ids {
		c := newCrew(t)
		for _, n := range []string{who, other} {
			addPhone(t, c.sim, wasim.PhoneConfig{Phone: n})
		}
		for _, by := range []string{who, who, other} {
			ids[i] = append(ids[i], c.does(201, "POST", "/groups", object{"by": by, "name": "Trip"})["id"].(string))
		}
	}
	require.Equal(t, ids[0], ids[1])
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids[0]))), 3)
}
