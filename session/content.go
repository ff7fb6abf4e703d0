package session

import (
	"cmp"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wafleet/wafleet/tenant"
)

// content is what a WhatsApp message says, as far as we can show it.
type content struct {
	kind     tenant.MessageType // empty: nothing to store
	text     string
	replyTo  tenant.MessageID
	mentions []tenant.ChatID
	media    *tenant.Media // nil: it is no file

	location  *tenant.Location // nil: it is no place
	contacts  []tenant.ContactCard
	forwarded bool
	score     int // how often it was forwarded
}

// fill writes what a message says into its record.
func (c *content) fill(m *tenant.Message) {
	m.Type, m.Text, m.ReplyTo, m.Mentions, m.Media = c.kind, c.text, c.replyTo, c.mentions, c.media
	m.Location, m.Contacts, m.Forwarded, m.ForwardScore = c.location, c.contacts, c.forwarded, c.score
}

// Bounds of what a stranger can make us store with one message.
const (
	maxMentions = 1024
	maxIDLength = 128
)

// read says what a message (unwrapped) says. What is about other messages (reactions, votes, edits, deletions), for devices, or
// for WhatsApp's own working has no kind; what is content but not known has TypeUnsupported.
func read(msg *waE2E.Message) content {
	c, info := readContent(msg)
	if c.kind == "" {
		return content{}
	}
	c.text = tenant.CleanText(c.text)
	if part := filePartOf(msg); part != nil && isFile(c.kind) {
		c.media = describeFile(part)
	}
	switch c.kind { //nolint:exhaustive // the others have no structure of their own
	case tenant.TypeLocation:
		c.location = placeOf(msg)
	case tenant.TypeContact:
		c.contacts = cardsOf(msg)
	}
	c.forwarded, c.score = forwardOf(info)
	c.replyTo = messageID(info.GetStanzaID())
	for _, raw := range info.GetMentionedJID() {
		id, err := tenant.ParseChatID(raw)
		if err == nil && len(c.mentions) < maxMentions {
			c.mentions = append(c.mentions, id)
		}
	}
	return c
}

// messageID is an id from outside, made storable. WhatsApp's have 16 to 32 characters.
func messageID(id string) tenant.MessageID {
	id = tenant.CleanText(id)
	if len(id) > maxIDLength {
		id = tenant.CleanText(id[:maxIDLength])
	}
	return tenant.MessageID(id)
}

// readContent returns the message's kind and text, and the context that it was written in.
func readContent(msg *waE2E.Message) (content, *waE2E.ContextInfo) {
	switch {
	case msg == nil:
		return content{}, nil
	case msg.Conversation != nil:
		return content{kind: tenant.TypeText, text: msg.GetConversation()}, nil
	case msg.ExtendedTextMessage != nil:
		m := msg.ExtendedTextMessage
		return content{kind: tenant.TypeText, text: m.GetText()}, m.GetContextInfo()
	case msg.ImageMessage != nil:
		m := msg.ImageMessage
		return content{kind: tenant.TypeImage, text: m.GetCaption()}, m.GetContextInfo()
	case msg.VideoMessage != nil:
		m := msg.VideoMessage
		return content{kind: tenant.TypeVideo, text: m.GetCaption()}, m.GetContextInfo()
	case msg.PtvMessage != nil:
		m := msg.PtvMessage
		return content{kind: tenant.TypeVideo, text: m.GetCaption()}, m.GetContextInfo()
	case msg.AudioMessage != nil:
		m := msg.AudioMessage
		if m.GetPTT() {
			return content{kind: tenant.TypeVoice}, m.GetContextInfo()
		}
		return content{kind: tenant.TypeAudio}, m.GetContextInfo()
	case msg.DocumentMessage != nil:
		m := msg.DocumentMessage
		return content{kind: tenant.TypeDocument, text: m.GetCaption()}, m.GetContextInfo()
	case msg.StickerMessage != nil:
		return content{kind: tenant.TypeSticker}, msg.StickerMessage.GetContextInfo()
	case msg.LocationMessage != nil:
		m := msg.LocationMessage
		return content{kind: tenant.TypeLocation, text: cmp.Or(m.GetComment(), m.GetName())}, m.GetContextInfo()
	case msg.LiveLocationMessage != nil:
		m := msg.LiveLocationMessage
		return content{kind: tenant.TypeLocation, text: m.GetCaption()}, m.GetContextInfo()
	case msg.ContactMessage != nil:
		m := msg.ContactMessage
		return content{kind: tenant.TypeContact, text: m.GetDisplayName()}, m.GetContextInfo()
	case msg.ContactsArrayMessage != nil:
		m := msg.ContactsArrayMessage
		return content{kind: tenant.TypeContact, text: m.GetDisplayName()}, m.GetContextInfo()
	}
	if poll := pollOf(msg); poll != nil {
		return content{kind: tenant.TypePoll, text: poll.GetName()}, poll.GetContextInfo()
	}
	return readAnswer(msg)
}

func pollOf(msg *waE2E.Message) *waE2E.PollCreationMessage {
	return cmp.Or(msg.PollCreationMessage, msg.PollCreationMessageV2, msg.PollCreationMessageV3,
		msg.PollCreationMessageV5, msg.PollCreationMessageV6,
		msg.GetPollCreationMessageV4().GetMessage().GetPollCreationMessage())
}

// readAnswer reads what people send by tapping on a business's message: text all the same.
func readAnswer(msg *waE2E.Message) (content, *waE2E.ContextInfo) {
	switch {
	case msg.ButtonsResponseMessage != nil:
		m := msg.ButtonsResponseMessage
		return content{kind: tenant.TypeText, text: m.GetSelectedDisplayText()}, m.GetContextInfo()
	case msg.TemplateButtonReplyMessage != nil:
		m := msg.TemplateButtonReplyMessage
		return content{kind: tenant.TypeText, text: m.GetSelectedDisplayText()}, m.GetContextInfo()
	case msg.ListResponseMessage != nil:
		m := msg.ListResponseMessage
		return content{kind: tenant.TypeText, text: m.GetTitle()}, m.GetContextInfo()
	case isSilent(msg):
		return content{}, nil
	default:
		return content{kind: tenant.TypeUnsupported}, nil
	}
}

// isSilent says whether nobody would see the message as one of its own.
func isSilent(msg *waE2E.Message) bool {
	switch {
	case msg.ProtocolMessage != nil, // deletions, edits, settings, keys, history
		msg.ReactionMessage != nil, msg.EncReactionMessage != nil,
		msg.PollUpdateMessage != nil, msg.PollAddOptionMessage != nil, msg.PollResultSnapshotMessage != nil,
		msg.EncEventResponseMessage != nil, msg.SecretEncryptedMessage != nil, msg.EncCommentMessage != nil,
		msg.KeepInChatMessage != nil, msg.PinInChatMessage != nil,
		msg.AlbumMessage != nil, // announces pictures that follow
		msg.StickerSyncRmrMessage != nil, msg.MessageHistoryBundle != nil, msg.MessageHistoryNotice != nil,
		msg.PlaceholderMessage != nil, msg.EditedMessage != nil,
		msg.GroupRootKeyShare != nil, msg.RootSecretDistributeMessage != nil:
		return true
	}
	return isCarrier(msg)
}

// isCarrier says whether the message holds nothing but what is meant for devices: sender keys and the context of a message.
func isCarrier(msg *waE2E.Message) bool {
	bare := true
	msg.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		switch field.Name() {
		case "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo":
		default:
			bare = false
		}
		return bare
	})
	return bare && len(msg.ProtoReflect().GetUnknown()) == 0
}

// encode is a message in WhatsApp's own encoding; nil if it cannot be encoded.
func encode(msg *waE2E.Message) []byte {
	if msg == nil {
		return nil
	}
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(msg)
	if err != nil {
		return nil
	}
	return raw
}
