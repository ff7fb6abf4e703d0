package dev

import (
	"context"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

// actor is somebody with a phone.
type actor struct {
	number, name, variable string // variable of dev.env that holds the number
	says                   func(text string) string
}

var shop = actor{number: "5511988880000", name: "Padaria do João", variable: "SHOP_PHONE"} //nolint:gochecknoglobals // never written

// contacts are those who answer.
func contacts() []actor {
	return []actor{
		{"5511999990001", "Ana", "ANA_PHONE", func(text string) string { return "Ana here. You wrote: " + text }},
		{"5511999990002", "Bruno", "BRUNO_PHONE", func(text string) string { return "Bruno here, got it: " + text }},
	}
}

// groupName is the group that Ana makes with the shop and Bruno.
const groupName = "Bread for Sunday"

// invited is what Ana writes into it. The id is always the same, as are those of the history.
var invited = struct{ id, text string }{"3EB0DEV00000000000G1", "How many rolls for Sunday?"} //nolint:gochecknoglobals // never written

// asked is the message of the history that the reply to try answers.
const asked = "3EB0DEV00000000000A1"

// history is what the shop's phone gives to the device that is linked with it. The ids are always the same, so that another
// start on the same data adds nothing.
func history(now time.Time) []phone.Chat {
	now = now.Truncate(time.Second)
	ana, bruno := contacts()[0], contacts()[1]
	return []phone.Chat{
		{Phone: ana.number, Name: ana.name, Unread: 1, Messages: []phone.ChatMessage{
			{ID: "3EB0DEV00000000000A3", FromMe: true, Text: "Good morning, Ana!", At: now.Add(-2 * time.Hour)},
			{ID: asked, Text: "Do you have bread rolls left?", At: now.Add(-time.Hour)},
		}},
		{Phone: bruno.number, Name: bruno.name, Messages: []phone.ChatMessage{
			{ID: "3EB0DEV00000000000B1", Text: "Thanks for the cake", At: now.Add(-25 * time.Hour)},
			{ID: "3EB0DEV00000000000B2", FromMe: true, Text: "You're welcome!", At: now.Add(-24 * time.Hour)},
		}},
	}
}

// addPhones makes the accounts: the contacts first, so that the shop's history can name them.
func addPhones(ctx context.Context, sim *wasim.Simulator) error {
	for _, a := range contacts() {
		if _, err := sim.AddPhone(ctx, wasim.PhoneConfig{Phone: a.number, Name: a.name, Autoreply: a.says, History: []phone.Chat{}}); err != nil {
			return fmt.Errorf("phone of %s: %w", a.name, err)
		}
	}
	if _, err := sim.AddPhone(ctx, wasim.PhoneConfig{Phone: shop.number, Name: shop.name, History: history(time.Now())}); err != nil {
		return fmt.Errorf("phone of %s: %w", shop.name, err)
	}
	return nil
}

// gather makes the group, whose id is always the same one.
func gather(ctx context.Context, sim *wasim.Simulator) (id string, err error) {
	ana, bruno := contacts()[0], contacts()[1]
	by, ok := sim.Phone(ana.number)
	if !ok {
		return "", fmt.Errorf("no phone %s", ana.number)
	}
	if id, _, err = by.CreateGroup(ctx, groupName, []string{shop.number, bruno.number}); err != nil {
		return "", fmt.Errorf("group of %s: %w", ana.name, err)
	}
	if _, err = by.SendText(ctx, id, invited.text, phone.SendOptions{ID: invited.id}); err != nil {
		return "", fmt.Errorf("group of %s: %w", ana.name, err)
	}
	return id, nil
}
