package api

import (
	"net/url"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// chatIDText is a chat id as it comes from outside. Its form is checked with the rest of the request.
type chatIDText string

const (
	chatIDPattern   = `^([0-9]{1,32}@(c\.us|g\.us|lid|s\.whatsapp\.net)|[0-9]{1,32}-[0-9]{1,32}@g\.us)$`
	personIDPattern = `^[0-9]{1,32}@(c\.us|lid|s\.whatsapp\.net)$`
)

// Schema is the form of a chat id.
func (chatIDText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: chatIDPattern, MaxLength: new(maxChatID),
		PatternDescription: "a chat id such as 5511999990001@c.us or 120363000000000001@g.us",
	}
}

const maxChatID = 80

// id is the chat id in our form.
func (t chatIDText) id() (tenant.ChatID, error) { return tenant.ParseChatID(string(t)) }

// personIDText is the id of a person as it comes from outside.
type personIDText string

// Schema is the form of a person's id.
func (personIDText) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeString, Pattern: personIDPattern, MaxLength: new(maxChatID),
		PatternDescription: "a person's id such as 5511999990001@c.us",
	}
}

// personIDs are the ids in our form.
func personIDs(texts []personIDText) ([]tenant.ChatID, error) {
	ids := make([]tenant.ChatID, 0, len(texts))
	for _, text := range texts {
		id, err := tenant.ParseChatID(string(text))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// ChatPath is the part of a request that names a chat. Exported because Huma looks only into exported embedded fields.
type ChatPath struct {
	ChatID chatIDText `path:"chatId" doc:"The chat's id: …@c.us for a person, …@g.us for a group. …@lid and …@s.whatsapp.net name a person, too, who is answered under …@c.us once the number is known." example:"5511999990001@c.us"`
}

// optional is a query parameter that may be absent.
type optional[T any] struct {
	value T
	set   bool
}

// Schema is the value's.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

// Receiver is where Huma puts the value.
func (o *optional[T]) Receiver() reflect.Value { return reflect.ValueOf(&o.value).Elem() }

// OnParamSet notes that there is one.
func (o *optional[T]) OnParamSet(isSet bool, _ any) { o.set = isSet }

// pointer is the value, or nil.
func (o *optional[T]) pointer() *T {
	if !o.set {
		return nil
	}
	return &o.value
}

// repeatable is the one parameter that may be repeated: proxies drop the body of a DELETE.
const repeatable = "participants"

// checkQuery refuses a query that Huma would read in part: it takes a bad escape for no parameter and the first of several for
// all of them. No other parameter of ours may be repeated; lists are separated by commas.
func checkQuery(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if part == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(rawName)
		if err == nil {
			_, err = url.QueryUnescape(rawValue)
		}
		if err != nil {
			answer(ctx, newProblem(codeBadRequest).because("The query has a percent sign that starts no escape: write %25 for a percent sign."))
			return
		}
		if seen[name] && name != repeatable {
			answer(ctx, invalid("query."+name, "expected once"))
			return
		}
		seen[name] = true
	}
	next(ctx)
}

// Resolve checks what a schema cannot say of a text. It leaves the empty one to the schema.
func (b *SendMessage) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	faults := b.choiceFaults(at)
	if b.Message != nil {
		if fault := textFault(*b.Message); fault != "" {
			faults = append(faults, fieldFault(at.With("message"), fault))
		}
	}
	return faults
}

var _ huma.ResolverWithPath = (*SendMessage)(nil)

// textFault says why a text cannot be sent, or "".
func textFault(text string) string {
	switch {
	case strings.ContainsRune(text, 0):
		return "expected a text without the character U+0000"
	case text != "" && strings.TrimSpace(text) == "":
		return "expected a text that is more than white space"
	}
	return ""
}
