package api

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

const frameGap = "gap"

// helloFrame is the first frame of a WebSocket.
type helloFrame struct {
	Type string    `json:"type"`
	Data helloData `json:"data"`
}

type helloData struct {
	Latest int64 `json:"latest" doc:"The newest event; 0 when there was none." example:"41"`
	Oldest int64 `json:"oldest" doc:"The oldest event that is kept." example:"1"`
}

// gapFrame says that events were skipped.
type gapFrame struct {
	Type string  `json:"type"`
	Data gapData `json:"data"`
}

type gapData struct {
	Since int64 `json:"since" doc:"You have all events up to this number." example:"3"`
	Next  int64 `json:"next" doc:"The stream goes on with this number; what lies between is no longer kept. If it is not greater than since, the journal is younger than your number: start anew." example:"17"`
}

// journaledTypes are the types of event that have a number; liveTypes have none.
func journaledTypes() []tenant.EventType {
	return []tenant.EventType{
		tenant.EventMessageReceived, tenant.EventMessageSent, tenant.EventMessageStatus, tenant.EventMessageEdited, tenant.EventMessageDeleted,
		tenant.EventMessageReaction, tenant.EventPollVote, tenant.EventChatUpdated, tenant.EventChatDeleted, tenant.EventGroupUpdated,
		tenant.EventGroupParticipants, tenant.EventSessionStatus, tenant.EventContactUpdated,
	}
}

func liveTypes() []tenant.EventType {
	return []tenant.EventType{tenant.EventTyping, tenant.EventPresence, tenant.EventSyncProgress, tenant.EventHistoryProgress}
}

// journaledType is a type of event as the query of a list names it, streamedType as that of a stream does. A word that is no type is
// refused: nothing would ever come of it.
type (
	journaledType string
	streamedType  string
)

// Schema is the words that there are.
func (journaledType) Schema(huma.Registry) *huma.Schema { return typesSchema(journaledTypes()) }

// Schema is the words that there are.
func (streamedType) Schema(huma.Registry) *huma.Schema {
	return typesSchema(append(journaledTypes(), liveTypes()...))
}

func typesSchema(types []tenant.EventType) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, t := range types {
		s.Enum = append(s.Enum, string(t))
	}
	return s
}

// frameSchema describes the frames of a WebSocket: one schema for each type of event.
func frameSchema(schemas huma.Registry) *huma.Schema {
	one := func(name, kind, doc string, numbered bool, data *huma.Schema) *huma.Schema {
		s := &huma.Schema{
			Type: huma.TypeObject, Description: doc, Required: []string{"type", "data"},
			Properties: map[string]*huma.Schema{
				"type": {Type: huma.TypeString, Enum: []any{kind}},
				"data": data,
			},
		}
		if numbered {
			s.Required = []string{"seq", "type", "timestamp", "data"}
			s.Properties["seq"] = &huma.Schema{Type: huma.TypeInteger, Format: "int64", Description: "The event's number in the journal, from 1, without gaps."}
			s.Properties["timestamp"] = &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "When it was stored."}
		}
		if schemas.Map()[name] != nil {
			panic("the schema " + name + " stands already") // when the server is made: a test finds it
		}
		schemas.Map()[name] = s
		return &huma.Schema{Ref: schemaPrefix + name}
	}
	typing := one("TypingEvent", string(tenant.EventTyping), "Somebody types. Live only: it has no seq and cannot be fetched again.", false, schemaOf[tenant.TypingEvent](schemas))
	schemas.Map()["TypingEvent"].Properties["timestamp"] = &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "When it happened."}
	presence := one("PresenceChangedEvent", string(tenant.EventPresence), "Somebody whom you watch is there, or not any more. Live only: it has no seq and cannot be fetched again.", false, schemaOf[tenant.PresenceEvent](schemas))
	schemas.Map()["PresenceChangedEvent"].Properties["timestamp"] = &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "When it happened."}
	progress := one("SyncProgressEvent", string(tenant.EventSyncProgress), "How far POST /api/chats/sync has come. Live only: it has no seq and cannot be fetched again.", false, schemaOf[tenant.SyncProgress](schemas))
	schemas.Map()["SyncProgressEvent"].Properties["timestamp"] = &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "When it happened."}
	history := one("HistoryProgressEvent", string(tenant.EventHistoryProgress), "A history is being fetched from the phone, or the phone sends one. Live only.", false, schemaOf[tenant.HistoryProgress](schemas))
	schemas.Map()["HistoryProgressEvent"].Properties["timestamp"] = &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "When it happened."}
	return &huma.Schema{OneOf: []*huma.Schema{
		one("HelloFrame", "hello", "The first frame.", false, schemaOf[helloData](schemas)),
		one("GapFrame", frameGap, "Events were skipped.", false, schemaOf[gapData](schemas)),
		one("MessageReceivedEvent", string(tenant.EventMessageReceived), "Somebody sent a message.", true, schemaOf[tenant.Message](schemas)),
		one("MessageSentEvent", string(tenant.EventMessageSent), "The account sent a message, from here or from another of its devices.", true, schemaOf[tenant.Message](schemas)),
		one("MessageStatusEvent", string(tenant.EventMessageStatus), "A message of the account came further.", true, schemaOf[tenant.MessageStatus](schemas)),
		one("MessageEditedEvent", string(tenant.EventMessageEdited), "A message has another text.", true, schemaOf[tenant.Message](schemas)),
		one("MessageDeletedEvent", string(tenant.EventMessageDeleted), "A message was deleted for everyone; it has no content any more.", true, schemaOf[tenant.Message](schemas)),
		one("MessageReactionEvent", string(tenant.EventMessageReaction), "Somebody reacted to a message, or took it back.", true, schemaOf[tenant.MessageReaction](schemas)),
		one("PollVoteEvent", string(tenant.EventPollVote), "Somebody voted in a poll, changed the vote, or withdrew it.", true, schemaOf[tenant.PollVoted](schemas)),
		one("ChatUpdatedEvent", string(tenant.EventChatUpdated), "A chat is new or changed; without lastMessage.", true, schemaOf[tenant.Chat](schemas)),
		one("GroupUpdatedEvent", string(tenant.EventGroupUpdated), "A group has another name, description, picture or other settings.", true, schemaOf[tenant.GroupUpdated](schemas)),
		one("GroupParticipantsEvent", string(tenant.EventGroupParticipants), "Participants of a group came or went, or have another role.", true, schemaOf[tenant.GroupParticipants](schemas)),
		one("ChatDeletedEvent", string(tenant.EventChatDeleted), "A chat was deleted here, or merged into another.", true, schemaOf[tenant.ChatDeleted](schemas)),
		one("SessionStatusEvent", string(tenant.EventSessionStatus), "The connection to WhatsApp changed.", true, schemaOf[tenant.SessionStatus](schemas)),
		one("ContactUpdatedEvent", string(tenant.EventContactUpdated), "A contact is new or is called otherwise, or is blocked or not any more. Forget the one whose id is this one's lid.", true, schemaOf[tenant.Contact](schemas)),
		typing,
		presence,
		progress,
		history,
	}}
}

func frameExamples() map[string]*huma.Example {
	return map[string]*huma.Example{
		"hello":            {Value: helloFrame{Type: "hello", Data: helloData{Latest: 41, Oldest: 1}}},
		frameGap:           {Value: gapFrame{Type: frameGap, Data: gapData{Since: 3, Next: 17}}},
		"message.received": {Value: exampleEvent()},
	}
}

func exampleEvent() tenant.Event {
	message := exampleMessage()
	message.FromMe, message.SenderID, message.SenderName = false, message.ChatID, "Ana"
	message.Text, message.Status = "Olá!", tenant.StatusReceived
	data, _ := json.Marshal(message) //nolint:errchkjson // a constant
	return tenant.Event{Seq: 41, Type: tenant.EventMessageReceived, Timestamp: exampleTime(), Data: data}
}
