package phone

import (
	"context"
	"fmt"
	"strconv"

	"go.mau.fi/libsignal/groups"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// What follows is for tests of what no decent phone sends.

// SendMessage sends any content; otherwise as [Phone.SendText].
func (p *Phone) SendMessage(ctx context.Context, to string, msg *waE2E.Message, opts SendOptions) (string, error) {
	return p.sendPart(ctx, to, opts, msg)
}

// SendPlaintext sends a message whose plaintext, before padding, is these bytes, for a version of the encoding ("2" is the usual one).
func (p *Phone) SendPlaintext(ctx context.Context, to, version string, plain []byte) (string, error) {
	jid, err := p.recipient(ctx, to, SendOptions{ViaLID: true})
	if err != nil {
		return "", err
	}
	id := p.cli.GenerateMessageID()
	err = p.persist(ctx, func(ctx context.Context) error {
		inner := p.inner()
		devs, err := p.cli.GetUserDevices(ctx, []types.JID{jid})
		if err != nil {
			return fmt.Errorf("look devices up: %w", err)
		}
		copies, withIdentity, err := inner.EncryptMessageForDevices(ctx, devs, id, plain, plain, waBinary.Attrs{"v": version})
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		content := []waBinary.Node{{Tag: "participants", Content: copies}}
		if withIdentity {
			content = append(content, inner.MakeDeviceIdentityNode())
		}
		return p.sendAndWait(ctx, waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{"id": id, "type": "text", "to": jid}, Content: content})
	})
	return id, err
}

// SendUnpaddedToGroup sends a group what decrypts to these bytes, without the padding that belongs around a message, for a version of the
// encoding. Like any message to a group it brings the sender's key.
func (p *Phone) SendUnpaddedToGroup(ctx context.Context, to, version string, raw []byte) (string, error) {
	jid, err := group(to)
	if err != nil {
		return "", err
	}
	id := p.cli.GenerateMessageID()
	err = p.persist(ctx, func(ctx context.Context) error {
		key, sealed, err := p.sealForGroup(ctx, jid, raw)
		if err != nil {
			return err
		}
		info, err := p.cli.GetGroupInfo(ctx, jid)
		if err != nil {
			return fmt.Errorf("read group: %w", err)
		}
		members := make([]types.JID, len(info.Participants))
		for i, each := range info.Participants {
			members[i] = each.JID
		}
		devs, err := p.cli.GetUserDevices(ctx, members)
		if err != nil {
			return fmt.Errorf("look devices up: %w", err)
		}
		inner := p.inner()
		copies, withIdentity, err := inner.EncryptMessageForDevices(ctx, devs, id, key, nil, waBinary.Attrs{})
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		content := []waBinary.Node{
			{Tag: "participants", Content: copies},
			{Tag: "enc", Attrs: waBinary.Attrs{"v": version, "type": "skmsg"}, Content: sealed},
		}
		if withIdentity {
			content = append(content, inner.MakeDeviceIdentityNode())
		}
		return p.sendAndWait(ctx, waBinary.Node{Tag: "message", Attrs: waBinary.Attrs{"id": id, "type": "text", "to": jid}, Content: content})
	})
	return id, err
}

// sealForGroup encrypts bytes by the phone's sender key; key is the message that brings that key.
func (p *Phone) sealForGroup(ctx context.Context, to types.JID, raw []byte) (key, sealed []byte, err error) {
	builder := groups.NewGroupSessionBuilder(p.cli.Store, store.SignalProtobufSerializer)
	name := protocol.NewSenderKeyName(to.String(), p.cli.Store.GetLID().SignalAddress())
	bringing, err := builder.Create(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("make sender key: %w", err)
	}
	msg, err := groups.NewGroupCipher(builder, name, p.cli.Store).Encrypt(ctx, raw)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypt: %w", err)
	}
	key, err = proto.Marshal(&waE2E.Message{SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{
		GroupID: new(to.String()), AxolotlSenderKeyDistributionMessage: bringing.Serialize(),
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("marshal: %w", err)
	}
	return key, msg.SignedSerialize(), nil
}

// TellCompanion sends a companion any message of its phone's.
func (p *Phone) TellCompanion(ctx context.Context, device uint16, msg *waE2E.ProtocolMessage) error {
	return p.sendPeer(ctx, device, msg)
}

// UploadHistory puts bytes where companions fetch histories, and answers the announcement.
func (p *Phone) UploadHistory(ctx context.Context, data []byte) (*waE2E.HistorySyncNotification, error) {
	notice := &waE2E.HistorySyncNotification{SyncType: waE2E.HistorySyncType_RECENT.Enum()}
	return notice, p.upload(ctx, notice, data)
}

// EncodeState is a change of the app state over what the phone last knew, as it travels.
func (p *Phone) EncodeState(ctx context.Context, patch appstate.PatchInfo) ([]byte, error) {
	key, err := p.cli.Store.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	state, err := p.stateOf(ctx, patch.Type)
	if err != nil {
		return nil, err
	}
	raw, err := appstate.NewProcessor(p.cli.Store, p.cli.Log).EncodePatch(ctx, key, state, patch)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return raw, nil
}

func (p *Phone) stateOf(ctx context.Context, name appstate.WAPatchName) (appstate.HashState, error) {
	version, hash, err := p.cli.Store.AppState.GetAppStateVersion(ctx, string(name))
	if err != nil {
		return appstate.HashState{}, fmt.Errorf("read version: %w", err)
	}
	return appstate.HashState{Version: version, Hash: hash}, nil
}

// PushState puts a patch, whatever it holds, into a collection that has not changed since the phone looked. The phone takes no note of it.
func (p *Phone) PushState(ctx context.Context, name appstate.WAPatchName, patch proto.Message) error {
	raw, err := proto.Marshal(patch)
	if err != nil {
		return fmt.Errorf("marshal: %w", err)
	}
	state, err := p.stateOf(ctx, name)
	if err != nil {
		return err
	}
	answer, err := p.inner().SendIQ(ctx, whatsmeow.DangerousInfoQuery{
		Namespace: "w:sync:app:state", Type: "set", To: types.ServerJID,
		Content: []waBinary.Node{{Tag: "sync", Content: []waBinary.Node{{
			Tag:     "collection",
			Attrs:   waBinary.Attrs{"name": string(name), "version": strconv.FormatUint(state.Version, 10), "return_snapshot": "false"},
			Content: []waBinary.Node{{Tag: "patch", Content: raw}},
		}}}},
	})
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	collection := answer.GetChildByTag("sync", "collection")
	if collection.AttrGetter().OptionalString("type") == "error" {
		return fmt.Errorf("%w: the collection has changed", ErrRefused)
	}
	return nil
}

// SendUnpadded encrypts bytes for one device as they are, without the padding that belongs around a message. The device must have been
// written to before.
func (p *Phone) SendUnpadded(ctx context.Context, to types.JID, raw []byte) error {
	builder := session.NewBuilderFromSignal(p.cli.Store, to.SignalAddress(), store.SignalProtobufSerializer)
	id := p.cli.GenerateMessageID()
	return p.persist(ctx, func(ctx context.Context) error {
		sealed, err := session.NewCipher(builder, to.SignalAddress()).Encrypt(ctx, raw)
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		kind, content := "msg", []waBinary.Node(nil)
		if sealed.Type() == protocol.PREKEY_TYPE {
			kind, content = "pkmsg", []waBinary.Node{p.inner().MakeDeviceIdentityNode()}
		}
		content = append(content, waBinary.Node{Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": kind}, Content: sealed.Serialize()})
		return p.sendAndWait(ctx, waBinary.Node{
			Tag: "message", Attrs: waBinary.Attrs{"id": id, "type": "text", "to": to, "device_fanout": "false"}, Content: content,
		})
	})
}
