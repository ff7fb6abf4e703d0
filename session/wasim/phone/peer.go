package phone

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/util/random"
	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waWeb"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"
)

var errNoKeys = errors.New("the companion has no keys on the server")

// makeSyncKey gives the account its app-state key, which only a phone makes.
func (p *Phone) makeSyncKey(ctx context.Context, dev *store.Device) error {
	id := random.Bytes(6)
	fingerprint, err := proto.Marshal(&waE2E.AppStateSyncKeyFingerprint{
		RawID:         new(binary.BigEndian.Uint32(random.Bytes(4))),
		CurrentIndex:  proto.Uint32(0),
		DeviceIndexes: []uint32{0},
	})
	if err != nil {
		return fmt.Errorf("make app-state key: %w", err)
	}
	err = dev.AppStateKeys.PutAppStateSyncKey(ctx, id, store.AppStateSyncKey{
		Data: random.Bytes(32), Fingerprint: fingerprint, Timestamp: time.Now().UnixMilli(),
	})
	if err != nil {
		return fmt.Errorf("make app-state key: %w", err)
	}
	return nil
}

// firstSync gives a companion what it needs: the app-state key first, or it would ask for it; then its history.
func (p *Phone) firstSync(ctx context.Context, device uint16) error {
	if err := p.devices.wait(ctx, device); err != nil {
		return fmt.Errorf("wait for the companion: %w", err)
	}
	if err := p.publishName(ctx); err != nil {
		// A companion without it has no name; all else works.
		p.cfg.Log.WarnContext(ctx, "push name not published", "error", redactText(err.Error()))
	}
	if err := p.shareKeys(ctx, device, nil); err != nil {
		return err
	}
	return p.sendHistory(ctx, device)
}

// publishName puts the push name into the app state, where companions learn it. It comes before there is a companion: one
// that hears of a change before it has the key asks for the key.
func (p *Phone) publishName(ctx context.Context) error {
	p.mu.Lock()
	done := p.named
	p.named = true
	p.mu.Unlock()
	if done {
		return nil
	}
	if err := p.cli.SendAppState(ctx, appstate.BuildSettingPushName(p.Name())); err != nil {
		p.mu.Lock()
		p.named = false
		p.mu.Unlock()
		return fmt.Errorf("publish push name: %w", err)
	}
	return nil
}

// shareKeys sends app-state keys to a companion: those asked for, or with none all.
func (p *Phone) shareKeys(ctx context.Context, device uint16, asked []*waE2E.AppStateSyncKeyId) error {
	keys := p.cli.Store.AppStateKeys
	if len(asked) == 0 {
		latest, err := keys.GetLatestAppStateSyncKeyID(ctx)
		if err != nil {
			return fmt.Errorf("read app-state keys: %w", err)
		}
		asked = []*waE2E.AppStateSyncKeyId{{KeyID: latest}}
	}
	share := new(waE2E.AppStateSyncKeyShare)
	for _, id := range asked[:min(len(asked), 64)] {
		key, err := keys.GetAppStateSyncKey(ctx, id.GetKeyID())
		if err != nil {
			return fmt.Errorf("read app-state keys: %w", err)
		}
		entry := &waE2E.AppStateSyncKey{KeyID: id} // without data: the phone does not have it either
		if key != nil {
			fingerprint := new(waE2E.AppStateSyncKeyFingerprint)
			if err = proto.Unmarshal(key.Fingerprint, fingerprint); err != nil {
				return fmt.Errorf("read app-state keys: %w", err)
			}
			entry.KeyData = &waE2E.AppStateSyncKeyData{
				KeyData: key.Data, Fingerprint: fingerprint, Timestamp: new(key.Timestamp),
			}
		}
		share.Keys = append(share.Keys, entry)
	}
	err := p.sendPeer(ctx, device, &waE2E.ProtocolMessage{
		Type:                 waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: share,
	})
	if err != nil {
		return fmt.Errorf("share app-state keys: %w", err)
	}
	return nil
}

// sendPeer sends a protocol message to one companion. whatsmeow's own way never fetches prekeys, which the first message
// needs.
func (p *Phone) sendPeer(ctx context.Context, device uint16, msg *waE2E.ProtocolMessage) error {
	plain, err := proto.Marshal(&waE2E.Message{ProtocolMessage: msg})
	if err != nil {
		return fmt.Errorf("marshal: %w", err)
	}
	id := p.cli.GenerateMessageID()
	return p.persist(ctx, func(ctx context.Context) error {
		to := p.companionLID(device)
		inner := p.inner()
		has, err := p.cli.Store.ContainsSession(ctx, to.SignalAddress())
		if err != nil {
			return fmt.Errorf("look session up: %w", err)
		}
		var bundle *prekey.Bundle
		if !has {
			if bundle = inner.FetchPreKeysNoError(ctx, []types.JID{to})[to]; bundle == nil {
				return errNoKeys
			}
		}
		enc, withIdentity, err := inner.EncryptMessageForDevice(ctx, plain, to, bundle, nil, nil)
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		content := []waBinary.Node{{Tag: "meta", Attrs: waBinary.Attrs{"appdata": "default"}}, *enc}
		if withIdentity {
			content = append(content, inner.MakeDeviceIdentityNode())
		}
		return p.sendAndWait(ctx, waBinary.Node{
			Tag:     "message",
			Attrs:   waBinary.Attrs{"id": id, "type": "text", "category": "peer", "to": p.companionPN(device)},
			Content: content,
		})
	})
}

// answerCompanions does what companions ask of their phone, one request after the other.
func (p *Phone) answerCompanions() {
	for {
		select {
		case e := <-p.peerWork:
			ctx, cancel := context.WithTimeout(p.ctx, companionTime)
			err := p.answerCompanion(ctx, e)
			cancel()
			if err != nil && p.ctx.Err() == nil {
				p.cfg.Log.Warn("companion not answered", "device", e.Info.Sender.Device, "error", redactText(err.Error()))
			}
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Phone) answerCompanion(ctx context.Context, e *events.Message) error {
	device, msg := e.Info.Sender.Device, e.Message.GetProtocolMessage()
	if !e.Info.IsFromMe || device == 0 {
		return nil
	}
	switch {
	case msg.GetAppStateSyncKeyRequest() != nil:
		return p.shareKeys(ctx, device, msg.GetAppStateSyncKeyRequest().GetKeyIDs())
	case msg.GetPeerDataOperationRequestMessage() != nil:
		return p.answerDataRequest(ctx, device, e.Info.ID, msg.GetPeerDataOperationRequestMessage())
	}
	return nil
}

func (p *Phone) answerDataRequest(ctx context.Context, device uint16, id string, req *waE2E.PeerDataOperationRequestMessage) error {
	switch req.GetPeerDataOperationRequestType() { //nolint:exhaustive // the rest is for features that are not simulated
	case waE2E.PeerDataOperationRequestType_HISTORY_SYNC_ON_DEMAND:
		return p.sendOnDemand(ctx, device, id, req.GetHistorySyncOnDemandRequest())
	case waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND:
		return p.resend(ctx, device, id, req.GetPlaceholderMessageResendRequest())
	default:
		p.cfg.Log.DebugContext(ctx, "companion asked for what a simulated phone does not have", "type", req.GetPeerDataOperationRequestType().String())
		return nil
	}
}

type (
	peerResponse = waE2E.PeerDataOperationRequestResponseMessage
	peerResult   = waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult
	resendResult = waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult_PlaceholderMessageResendResponse
)

// resend answers with the messages that a companion could not decrypt, as far as the phone remembers them.
func (p *Phone) resend(ctx context.Context, device uint16, id string, asked []*waE2E.PeerDataOperationRequestMessage_PlaceholderMessageResendRequest) error {
	answer := &peerResponse{
		PeerDataOperationRequestType: waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND.Enum(),
		StanzaID:                     new(id),
	}
	for _, each := range asked[:min(len(asked), 64)] {
		known, ok := p.keyed(each.GetMessageKey())
		if !ok {
			continue
		}
		web, err := proto.Marshal(&waWeb.WebMessageInfo{
			Key: &waCommon.MessageKey{
				RemoteJID:   new(each.GetMessageKey().GetRemoteJID()),
				FromMe:      new(known.from.IsEmpty() || p.isOwn(known.from)),
				ID:          new(each.GetMessageKey().GetID()),
				Participant: each.GetMessageKey().Participant,
			},
			Message:          known.msg,
			MessageTimestamp: new(unix(known.at)),
		})
		if err != nil {
			return fmt.Errorf("marshal message: %w", err)
		}
		answer.PeerDataOperationResult = append(answer.PeerDataOperationResult, &peerResult{
			PlaceholderMessageResendResponse: &resendResult{WebMessageInfoBytes: web},
		})
	}
	err := p.sendPeer(ctx, device, &waE2E.ProtocolMessage{
		Type:                                    waE2E.ProtocolMessage_PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE.Enum(),
		PeerDataOperationRequestResponseMessage: answer,
	})
	if err != nil {
		return fmt.Errorf("send messages again: %w", err)
	}
	return nil
}

func (p *Phone) isOwn(jid types.JID) bool { return jid.User == p.cfg.Phone || jid.User == p.lid.User }

func unix(t time.Time) uint64 { return uint64(max(0, t.Unix())) }

// keyed answers the remembered message that a companion's key names.
func (p *Phone) keyed(key *waCommon.MessageKey) (remembered, bool) {
	chat, err := types.ParseJID(key.GetRemoteJID())
	if err != nil {
		return remembered{}, false
	}
	author := ""
	if jid, err := types.ParseJID(key.GetParticipant()); err == nil && key.GetParticipant() != "" {
		author = p.numberOf(jid)
	}
	return p.find(chat, key.GetID(), author)
}
