package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wafleet/wafleet/session/wasim/relay"
)

// TestWrongCountsFail shows each thing that may go wrong with messages to the witness or in the store.
func TestWrongCountsFail(t *testing.T) {
	t.Parallel()
	ack := func(id string) relay.Observation {
		return relay.Observation{Kind: relay.Acknowledged, Tag: "message", Phone: "5511", Device: 1, ID: id, At: time.Now()}
	}
	got := counts{Messages: 2, Distinct: 2}
	for name, c := range map[string]struct {
		seen  []relay.Observation
		got   counts
		fault string
	}{
		"all is well":         {[]relay.Observation{ack("a"), ack("b")}, got, ""},
		"one is missing":      {[]relay.Observation{ack("a")}, got, "acknowledged: 1, not 2"},
		"one came twice":      {[]relay.Observation{ack("a"), ack("b"), ack("b")}, got, "a second time: 1"},
		"one is from nowhere": {[]relay.Observation{ack("a"), ack("b"), ack("c")}, got, "nobody sent: 1"},
		"one was not readable": {
			[]relay.Observation{ack("a"), ack("b"), {Kind: relay.RetryRequested, Device: 1}}, got, "retry receipt: 1",
		},
		"one was refused":     {[]relay.Observation{ack("a"), ack("b"), {Kind: relay.Refused, Device: 1}}, got, "refused: 1"},
		"one was lost":        {[]relay.Observation{ack("a"), ack("b"), {Kind: relay.Dropped, Device: 1}}, got, "lost by the simulator: 1"},
		"one is not stored":   {[]relay.Observation{ack("a"), ack("b")}, counts{Messages: 1, Distinct: 1}, "stored: 1"},
		"one is stored twice": {[]relay.Observation{ack("a"), ack("b")}, counts{Messages: 3, Distinct: 2}, "stored: 3"},
		"one has no content":  {[]relay.Observation{ack("a"), ack("b")}, counts{Messages: 2, Distinct: 2, Undecrypted: 1}, "not decrypted: 1"},
		"a phone's own affair": {
			[]relay.Observation{ack("a"), ack("b"), {Kind: relay.Dropped, Device: 0}}, got, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWitness()
			w.expect("5511", "a")
			w.expect("5511", "b")
			for _, o := range c.seen {
				w.see(o)
			}
			seen, _ := w.counts()
			err := check(2, seen, c.got)
			if c.fault == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrCounts)
			require.ErrorContains(t, err, c.fault)
		})
	}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	var order []int
	medians, err := inRounds(3, []Variant{Bare, Fleet}, func(v Variant, place int) (float64, error) {
		order = append(order, place)
		return map[Variant][]float64{Bare: {9, 1, 5}, Fleet: {2, 8, 4}}[v][place/2], nil
	}, func(m float64) float64 { return m })
	require.NoError(t, err)
	require.Equal(t, []float64{5, 4}, medians)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, order, "in turns, each with a database of its own")
}
