package session

import (
	"context"
	"errors"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types/events"
)

// reveal opens what is encrypted a second time, with the secret of the message that it is about: reactions in communities, and
// edits. What cannot be opened stays as it is, and is nothing that anybody would see.
func (c *conn) reveal(evt *events.Message) {
	reaction, secret := evt.Message.GetEncReactionMessage(), evt.Message.GetSecretEncryptedMessage()
	isEdit := secret.GetSecretEncType() == waE2E.SecretEncryptedMessage_MESSAGE_EDIT
	if reaction == nil && !isEdit {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.actor.fleet.pace.StoreTimeout)
	defer cancel()
	var opened *waE2E.Message
	var err error
	if iv := sealedWith(reaction, secret); len(iv) != ivLength { // whatsmeow panics
		err = errBadIV
	} else if reaction != nil {
		var plain *waE2E.ReactionMessage
		if plain, err = c.cli.DecryptReaction(ctx, evt); err == nil {
			opened = openReaction(reaction, plain)
		}
	} else if opened, err = c.cli.DecryptSecretEncryptedMessage(ctx, evt); err == nil {
		opened = openEdit(secret, opened)
	}
	if err != nil {
		c.actor.fleet.cfg.Metrics.Undecryptable(string(c.actor.id))
		c.log.WarnContext(ctx, "reaction or edit cannot be opened", "error", redact(err.Error()))
		return
	}
	evt.Message = opened
}

// ivLength is what AES-GCM takes.
const ivLength = 12

var errBadIV = errors.New("the initialisation vector has a wrong length")

func sealedWith(reaction *waE2E.EncReactionMessage, secret *waE2E.SecretEncryptedMessage) []byte {
	if reaction != nil {
		return reaction.GetEncIV()
	}
	return secret.GetEncIV()
}

// openReaction is a reaction as it would have come without its second encryption, which leaves the key outside.
func openReaction(outer *waE2E.EncReactionMessage, plain *waE2E.ReactionMessage) *waE2E.Message {
	plain.Key = outer.GetTargetMessageKey()
	return &waE2E.Message{ReactionMessage: plain}
}

// openEdit is an edit as it would have come without its second encryption: that holds the whole edit, or the new content alone.
func openEdit(outer *waE2E.SecretEncryptedMessage, plain *waE2E.Message) *waE2E.Message {
	plain = (&events.Message{RawMessage: plain}).UnwrapRaw().Message
	change := plain.GetProtocolMessage()
	if change == nil {
		change = &waE2E.ProtocolMessage{EditedMessage: plain}
	}
	change.Type, change.Key = waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), outer.GetTargetMessageKey()
	return &waE2E.Message{ProtocolMessage: change}
}
