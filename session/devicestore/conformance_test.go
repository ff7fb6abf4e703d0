package devicestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
	"github.com/wafleet/wafleet/tenant/tenantsql"
	"github.com/wafleet/wafleet/tenant/tenanttest"
)

// legacy is whatsmeow's own store, in the same database.
func legacy(t *testing.T, s *tenantsql.Store) *sqlstore.Container {
	t.Helper()
	container := sqlstore.NewWithWrappedDB(s.Database().Child("whatsmeow_version", upgrades.Table, dbutil.NoopLogger), nil)
	require.NoError(t, container.Upgrade(t.Context()))
	return container
}

// TestAnswersAsSQLStoreDoes makes the same random calls to this store and to whatsmeow's, and wants the same answers. In between the process
// dies: what was durable in the one is durable in the other.
func TestAnswersAsSQLStoreDoes(t *testing.T) {
	t.Parallel()
	for _, engine := range tenanttest.Engines() {
		t.Run(engine.Name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, engine)
			reference := legacy(t, b.store)
			for seed := range uint64(6) {
				p := &pair{t: t, b: b, random: rand.New(rand.NewPCG(seed, 7)), reference: reference}
				p.open()
				for step := range 400 {
					p.step = fmt.Sprintf("seed %d, step %d", seed, step)
					p.one()
				}
			}
		})
	}
}

// pair is a device in both stores.
type pair struct {
	t         *testing.T
	b         *bundle
	random    *rand.Rand
	reference *sqlstore.Container
	step      string

	id           tenant.ID
	jid          types.JID
	ours, theirs *store.Device
	versions     map[string]uint64 // of collections
	seen         [][32]byte        // events that were decrypted
	ratchet      map[[32]byte]bool // that cannot be decrypted again
}

func (p *pair) open() {
	p.id, p.jid, p.versions, p.ratchet = p.b.tenant(p.t), newJID(), map[string]uint64{}, map[[32]byte]bool{}
	p.ours = p.b.linked(p.t, p.id, p.jid)
	p.theirs = p.reference.NewDevice()
	p.theirs.ID, p.theirs.Account = p.ours.ID, p.ours.Account
	require.NoError(p.t, p.theirs.Save(p.t.Context()))
	p.link()
}

// link makes one of the users known by both names.
func (p *pair) link() {
	for _, dev := range []*store.Device{p.ours, p.theirs} {
		require.NoError(p.t, dev.LIDs.PutLIDMapping(p.t.Context(), p.user(0), p.user(1)))
	}
}

// crash makes both begin anew with what is in the database.
func (p *pair) crash() {
	p.ours.Container.(session.FailStop).Close()
	var err error
	p.ours, err = p.b.devices.Load(p.t.Context(), p.id, p.jid)
	require.NoError(p.t, err)
	p.theirs, err = p.reference.GetDevice(p.t.Context(), p.jid)
	require.NoError(p.t, err)
	require.Equal(p.t, p.theirs.PushName, p.ours.PushName)
}

func (p *pair) flush() { require.NoError(p.t, p.b.store.FlushDevice(p.t.Context(), p.id)) }

func (p *pair) bytes(n int) []byte {
	all := make([]byte, n)
	for i := range all {
		all[i] = byte(p.random.UintN(256))
	}
	return all
}

// user is one of a few people; 0 and 1 are the same one, by LID and by number.
func (p *pair) user(n int) types.JID {
	server := types.DefaultUserServer
	if n%2 == 0 {
		server = types.HiddenUserServer
	}
	return types.NewJID(fmt.Sprintf("%s%02d", p.jid.User, n), server)
}

func (p *pair) anyone() types.JID { return p.user(p.random.IntN(4)) }

func (p *pair) address() string {
	jid := p.anyone()
	jid.Device = uint16(p.random.IntN(3))
	return jid.SignalAddress().String()
}

// same runs a call on both devices and compares what comes of it.
func same[T any](p *pair, call func(ctx context.Context, dev *store.Device) (T, error)) T {
	p.t.Helper()
	ours, err := call(p.t.Context(), p.ours)
	require.NoError(p.t, err, p.step)
	theirs, err := call(p.t.Context(), p.theirs)
	require.NoError(p.t, err, p.step)
	require.Equal(p.t, theirs, ours, p.step)
	return ours
}

// both runs a call that answers nothing.
func (p *pair) both(call func(ctx context.Context, dev *store.Device) error) {
	p.t.Helper()
	same(p, func(ctx context.Context, dev *store.Device) (any, error) { return nil, call(ctx, dev) })
}

// one does one thing.
func (p *pair) one() {
	p.t.Helper()
	all := []func(){p.identities, p.sessions, p.senderKeys, p.preKeys, p.stateKeys, p.state, p.secrets, p.tokens, p.events, p.more}
	if p.random.IntN(25) == 0 {
		p.flush() // what waits for a commit by nature: whatsmeow's store writes it at once
		p.crash()
		return
	}
	all[p.random.IntN(len(all))]()
}

func (p *pair) identities() {
	address, key := p.address(), [32]byte{byte(p.random.IntN(3))}
	switch p.random.IntN(6) {
	case 0, 1:
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.Identities.PutIdentity(ctx, address, key)
		})
	case 2:
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.Identities.DeleteIdentity(ctx, address) })
	case 3:
		user := p.anyone().SignalAddressUser()
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.Identities.DeleteAllIdentities(ctx, user)
		})
	default:
		same(p, func(ctx context.Context, dev *store.Device) (bool, error) {
			return dev.Identities.IsTrustedIdentity(ctx, address, key)
		})
	}
}

func (p *pair) sessions() {
	address, ratchet := p.address(), p.bytes(1+p.random.IntN(300))
	switch p.random.IntN(10) {
	case 0, 1:
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.Sessions.PutSession(ctx, address, ratchet)
		})
	case 2:
		many := map[string][]byte{address: ratchet, p.address(): p.bytes(20), p.address(): p.bytes(30)}
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.Sessions.PutManySessions(ctx, many) })
	case 3:
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.Sessions.DeleteSession(ctx, address) })
	case 4:
		user := p.anyone().SignalAddressUser()
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.Sessions.DeleteAllSessions(ctx, user) })
	case 5:
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.Sessions.MigratePNToLID(ctx, p.user(1), p.user(0))
		})
	case 6:
		same(p, func(ctx context.Context, dev *store.Device) (bool, error) {
			return dev.Sessions.HasSession(ctx, address)
		})
	case 7:
		many := []string{address, p.address(), p.address(), p.address()}
		same(p, func(ctx context.Context, dev *store.Device) (map[string][]byte, error) {
			return dev.Sessions.GetManySessions(ctx, many)
		})
	default:
		same(p, func(ctx context.Context, dev *store.Device) ([]byte, error) {
			return dev.Sessions.GetSession(ctx, address)
		})
	}
}

func (p *pair) senderKeys() {
	group, user, key := []string{"1@g.us", "2@g.us"}[p.random.IntN(2)], p.address(), p.bytes(40)
	if p.random.IntN(2) == 0 {
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.SenderKeys.PutSenderKey(ctx, group, user, key)
		})
		return
	}
	same(p, func(ctx context.Context, dev *store.Device) ([]byte, error) {
		return dev.SenderKeys.GetSenderKey(ctx, group, user)
	})
}

// preKeys compares ids: each store makes its own keys. The newest is not removed: sqlstore would give its id out again.
func (p *pair) preKeys() {
	type found struct{ ids []uint32 }
	switch n := 1 + p.random.Uint32N(8); p.random.IntN(6) {
	case 0:
		same(p, func(ctx context.Context, dev *store.Device) (found, error) {
			keys, err := dev.PreKeys.GetOrGenPreKeys(ctx, n)
			var f found
			for _, key := range keys {
				f.ids = append(f.ids, key.KeyID)
			}
			return f, err
		})
	case 1:
		same(p, func(ctx context.Context, dev *store.Device) (uint32, error) {
			key, err := dev.PreKeys.GenOnePreKey(ctx)
			return key.KeyID, err
		})
	case 2:
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.PreKeys.MarkPreKeysAsUploaded(ctx, n*4) })
	case 3:
		same(p, func(ctx context.Context, dev *store.Device) (int, error) { return dev.PreKeys.UploadedPreKeyCount(ctx) })
	case 4:
		newest := same(p, func(ctx context.Context, dev *store.Device) (uint32, error) {
			key, err := dev.PreKeys.GenOnePreKey(ctx)
			return key.KeyID, err
		})
		gone := p.random.Uint32N(newest)
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.PreKeys.RemovePreKey(ctx, gone) })
	default:
		same(p, func(ctx context.Context, dev *store.Device) (uint32, error) {
			key, err := dev.PreKeys.GetPreKey(ctx, n)
			if key == nil {
				return 0, err
			}
			again, err := dev.PreKeys.GetPreKey(ctx, n)
			require.Equal(p.t, key, again)
			return key.KeyID, err
		})
	}
}

func (p *pair) stateKeys() {
	id := []byte{byte(p.random.IntN(4))}
	switch p.random.IntN(4) {
	case 0: // no two of a time: their order would be any
		key := store.AppStateSyncKey{Data: p.bytes(32), Fingerprint: p.bytes(4), Timestamp: p.random.Int64()}
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.AppStateKeys.PutAppStateSyncKey(ctx, id, key)
		})
	case 1:
		same(p, func(ctx context.Context, dev *store.Device) (*store.AppStateSyncKey, error) {
			return dev.AppStateKeys.GetAppStateSyncKey(ctx, id)
		})
	case 2:
		same(p, func(ctx context.Context, dev *store.Device) ([]byte, error) {
			return dev.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
		})
	default:
		same(p, func(ctx context.Context, dev *store.Device) (int, error) {
			keys, err := dev.AppStateKeys.GetAllAppStateSyncKeys(ctx)
			return len(keys), err
		})
	}
}

func (p *pair) state() {
	name := []string{"regular", "regular_high"}[p.random.IntN(2)]
	index := bytes.Repeat([]byte{byte(p.random.IntN(5))}, 32)
	switch p.random.IntN(6) {
	case 0, 1:
		p.versions[name]++
		version, hash := p.versions[name], [128]byte(p.bytes(128))
		macs := []store.AppStateMutationMAC{{IndexMAC: index, ValueMAC: p.bytes(32)}}
		put := func(ctx context.Context, dev *store.Device) error {
			return errors.Join(dev.AppState.PutAppStateVersion(ctx, name, version, hash), dev.AppState.PutAppStateMutationMACs(ctx, name, version, macs))
		}
		p.both(func(ctx context.Context, dev *store.Device) error {
			if together, ok := dev.Container.(session.Together); ok {
				return together.Together(ctx, func(ctx context.Context) error { return put(ctx, dev) })
			}
			return put(ctx, dev)
		})
	case 2:
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.AppState.DeleteAppStateMutationMACs(ctx, name, [][]byte{index, bytes.Repeat([]byte{9}, 32)})
		})
	case 3:
		if p.random.IntN(3) == 0 {
			p.both(func(ctx context.Context, dev *store.Device) error {
				return dev.AppState.DeleteAppStateVersion(ctx, name)
			})
		}
	case 4:
		type state struct {
			version uint64
			hash    [128]byte
		}
		same(p, func(ctx context.Context, dev *store.Device) (s state, err error) {
			s.version, s.hash, err = dev.AppState.GetAppStateVersion(ctx, name)
			return s, err
		})
	default:
		same(p, func(ctx context.Context, dev *store.Device) ([]byte, error) {
			return dev.AppState.GetAppStateMutationMAC(ctx, name, index)
		})
	}
}

func (p *pair) secrets() {
	chat, sender, id, secret := p.anyone(), p.anyone(), fmt.Sprintf("M%d", p.random.IntN(3)), p.bytes(32)
	chat.Device = 4
	switch p.random.IntN(4) {
	case 0: // under one name of a person only: of two, sqlstore answers any
		chat, sender = p.user(2*p.random.IntN(2)), p.user(2*p.random.IntN(2))
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.MsgSecrets.PutMessageSecret(ctx, chat, sender, id, secret)
		})
	case 1:
		many := []store.MessageSecretInsert{{Chat: p.user(3), Sender: p.user(2), ID: id, Secret: secret}, {Chat: chat, ID: id, Secret: secret}}
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.MsgSecrets.PutMessageSecrets(ctx, many) })
	default:
		type found struct {
			secret []byte
			sender types.JID
		}
		same(p, func(ctx context.Context, dev *store.Device) (f found, err error) {
			f.secret, f.sender, err = dev.MsgSecrets.GetMessageSecret(ctx, chat, sender, id)
			return f, err
		})
	}
}

func (p *pair) tokens() {
	user := p.anyone()
	at := func() time.Time { return time.Unix(1_700_000_000+p.random.Int64N(1_000_000), 0) }
	switch p.random.IntN(8) {
	case 0, 1:
		token := store.PrivacyToken{User: user, Token: p.bytes(8), Timestamp: at()}
		if p.random.IntN(2) == 0 {
			token.SenderTimestamp = at()
		}
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.PrivacyTokens.PutPrivacyTokens(ctx, token)
		})
	case 2:
		cutoff := at()
		same(p, func(ctx context.Context, dev *store.Device) (int64, error) {
			return dev.PrivacyTokens.DeleteExpiredPrivacyTokens(ctx, cutoff.Add(-800_000*time.Second))
		})
	case 3:
		salt := p.bytes(16)
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.NCTSalt.PutNCTSalt(ctx, salt) })
	case 4:
		p.both(func(ctx context.Context, dev *store.Device) error { return dev.NCTSalt.DeleteNCTSalt(ctx) })
	case 5:
		same(p, func(ctx context.Context, dev *store.Device) ([]byte, error) { return dev.NCTSalt.GetNCTSalt(ctx) })
	default:
		same(p, func(ctx context.Context, dev *store.Device) (*store.PrivacyToken, error) {
			return dev.PrivacyTokens.GetPrivacyToken(ctx, user)
		})
	}
}

var errOld = errors.New("old counter")

// deliver does with an event what whatsmeow does: it answers the plaintext, or that there was one.
func (p *pair) deliver(hash [32]byte, fails bool) string {
	address := p.address()
	return same(p, func(ctx context.Context, dev *store.Device) (string, error) {
		found, err := dev.EventBuffer.GetBufferedEvent(ctx, hash)
		switch {
		case err != nil:
			return "", err
		case found != nil && found.Plaintext == nil:
			return "done", nil
		case found != nil:
			return "buffered " + string(found.Plaintext), nil
		}
		err = dev.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
			if err := dev.Sessions.PutSession(ctx, address, append([]byte("moved by "), hash[:]...)); err != nil {
				return err
			}
			if p.ratchet[hash] || fails {
				return errOld
			}
			return dev.EventBuffer.PutBufferedEvent(ctx, hash, []byte("plaintext of "+string(hash[:])), time.Unix(1_700_000_000, 0))
		})
		switch {
		case errors.Is(err, whatsmeow.ErrEventAlreadyProcessed):
			return "done", nil
		case errors.Is(err, errOld):
			return "failed", nil
		}
		return "decrypted", err
	})
}

func (p *pair) events() {
	hash := [32]byte(p.bytes(32))
	if len(p.seen) > 0 && p.random.IntN(3) == 0 {
		hash = p.seen[p.random.IntN(len(p.seen))]
	}
	if what := p.deliver(hash, p.random.IntN(10) == 0); what == "decrypted" {
		p.seen, p.ratchet[hash] = append(p.seen, hash), true
	}
	if p.ratchet[hash] && p.random.IntN(3) > 0 {
		if p.random.IntN(2) == 0 { // the record is committed
			_, err := p.b.store.Tenant(p.id).Commit(p.t.Context(), tenant.SettleEvent{Hash: hash})
			require.NoError(p.t, err)
		}
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.EventBuffer.ClearBufferedEventPlaintext(ctx, hash)
		})
	}
}

func (p *pair) more() {
	chat, id := p.anyone(), fmt.Sprintf("M%d", p.random.IntN(3))
	switch p.random.IntN(4) {
	case 0:
		text := p.bytes(20)
		p.both(func(ctx context.Context, dev *store.Device) error {
			return dev.EventBuffer.AddOutgoingEvent(ctx, chat, id, "wa", text)
		})
	case 1:
		type found struct {
			format, text string
			none         bool
		}
		same(p, func(ctx context.Context, dev *store.Device) (found, error) {
			format, text, err := dev.EventBuffer.GetOutgoingEvent(ctx, chat, chat, id)
			return found{format, string(text), err != nil}, nil
		})
	case 2:
		p.both(func(ctx context.Context, dev *store.Device) error {
			return errors.Join(dev.EventBuffer.DeleteOldOutgoingEvents(ctx), dev.EventBuffer.DeleteOldBufferedHashes(ctx))
		})
	default:
		name := string(slices.Concat([]byte("name "), []byte{'a' + byte(p.random.IntN(5))}))
		p.both(func(ctx context.Context, dev *store.Device) error {
			dev.PushName = name
			return dev.Save(ctx)
		})
	}
}
