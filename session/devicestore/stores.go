package devicestore

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// What follows is kept by the tenant's own store, from the events that whatsmeow hands out: whatsmeow would keep it a second time, and
// reads it for broadcasts to the status alone, which we do not send.

// PutPushName implements [store.ContactStore]. It answers that nothing has changed: no event is made of it.
func (*device) PutPushName(context.Context, types.JID, string) (bool, string, error) {
	return false, "", nil
}

// PutBusinessName implements [store.ContactStore]. It answers that nothing has changed: no event is made of it.
func (*device) PutBusinessName(context.Context, types.JID, string) (bool, string, error) {
	return false, "", nil
}

// PutContactName implements [store.ContactStore].
func (*device) PutContactName(context.Context, types.JID, string, string) error { return nil }

// PutAllContactNames implements [store.ContactStore].
func (*device) PutAllContactNames(context.Context, []store.ContactEntry) error { return nil }

// PutManyRedactedPhones implements [store.ContactStore].
func (*device) PutManyRedactedPhones(context.Context, []store.RedactedPhoneEntry) error { return nil }

// GetContact implements [store.ContactStore].
func (*device) GetContact(context.Context, types.JID) (types.ContactInfo, error) {
	return types.ContactInfo{}, nil
}

// GetAllContacts implements [store.ContactStore].
func (*device) GetAllContacts(context.Context) (map[types.JID]types.ContactInfo, error) {
	return map[types.JID]types.ContactInfo{}, nil
}

// PutMutedUntil implements [store.ChatSettingsStore].
func (*device) PutMutedUntil(context.Context, types.JID, time.Time) error { return nil }

// PutPinned implements [store.ChatSettingsStore].
func (*device) PutPinned(context.Context, types.JID, bool) error { return nil }

// PutArchived implements [store.ChatSettingsStore].
func (*device) PutArchived(context.Context, types.JID, bool) error { return nil }

// GetChatSettings implements [store.ChatSettingsStore].
func (*device) GetChatSettings(context.Context, types.JID) (types.LocalChatSettings, error) {
	return types.LocalChatSettings{}, nil
}
