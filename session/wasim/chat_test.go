package wasim_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim"
	"github.com/wafleet/wafleet/session/wasim/phone"
)

func TestPhonesChatByNumberAndByLID(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{Name: "Ana"})
	bob := addPhone(t, sim, wasim.PhoneConfig{Name: "Bob"})
	for name, opts := range map[string]phone.SendOptions{
		"Default": {}, "ViaLID": {ViaLID: true}, "ViaPN": {ViaPN: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := within(t)
			id, err := ana.SendText(ctx, "+"+bob.Number(), "hello "+name, opts)
			require.NoError(t, err)
			got, err := bob.WaitEntry(ctx, 0, isMessage("hello "+name))
			require.NoError(t, err)
			require.Equal(t, []string{id}, got.IDs)
			require.Equal(t, ana.Number(), got.Chat, "the same person by whichever name")
			require.Equal(t, ana.Number(), got.From)
			require.False(t, got.FromMe)
			require.Equal(t, map[bool]string{true: "pn", false: "lid"}[opts.ViaPN], got.Via)
			_, err = ana.WaitEntry(ctx, 0, isReceipt("delivered", id))
			require.NoError(t, err)

			// The answer quotes, and is read.
			answer, err := bob.SendText(ctx, ana.Number(), "answer "+name, phone.SendOptions{ReplyTo: id})
			require.NoError(t, err)
			got, err = ana.WaitEntry(ctx, 0, isMessage("answer "+name))
			require.NoError(t, err)
			require.Equal(t, id, got.ReplyTo)
			require.NoError(t, ana.MarkRead(ctx, bob.Number(), []string{answer}))
			_, err = bob.WaitEntry(ctx, 0, isReceipt("read", answer))
			require.NoError(t, err)
		})
	}
}

func TestAContactThatAnswersReadsFirst(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ctx := within(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	echo := addPhone(t, sim, wasim.PhoneConfig{Autoreply: func(text string) string { return "echo: " + text }})
	other := addPhone(t, sim, wasim.PhoneConfig{Autoreply: func(string) string { return "me too" }})
	for i := range 5 {
		text := fmt.Sprintf("message %d", i)
		id, err := ana.SendText(ctx, echo.Number(), text, phone.SendOptions{})
		require.NoError(t, err)
		_, err = ana.WaitEntry(ctx, 0, isReceipt("read", id))
		require.NoError(t, err)
		_, err = ana.WaitEntry(ctx, 0, isMessage("echo: "+text))
		require.NoError(t, err)
	}
	// Two of them do not talk for ever: an automatic answer is read, but not answered.
	_, err := echo.SendText(ctx, other.Number(), "start", phone.SendOptions{})
	require.NoError(t, err)
	answer, err := echo.WaitEntry(ctx, 0, isMessage("me too"))
	require.NoError(t, err)
	_, err = other.WaitEntry(ctx, 0, isReceipt("read", answer.IDs[0]))
	require.NoError(t, err)
	for _, e := range other.Inbox(0) {
		require.NotEqual(t, "echo: me too", e.Text)
	}
}

func TestAnUnknownUserIsNamedSo(t *testing.T) {
	t.Parallel()
	sim := startSim(t)
	ana := addPhone(t, sim, wasim.PhoneConfig{})
	_, err := ana.SendText(within(t), number(), "anyone?", phone.SendOptions{})
	require.ErrorIs(t, err, phone.ErrUnknownUser)
	_, err = ana.SendText(within(t), "12x", "anyone?", phone.SendOptions{})
	require.ErrorIs(t, err, phone.ErrBadNumber)
}
