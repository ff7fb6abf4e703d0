package api

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/tenant"
)

// tidy makes of a finished document one that generators make good clients of: what they would have to invent a name for gets one
// here, so that names are the same in every language and do not change when something is added. Call it after relax.
func tidy(api *huma.OpenAPI) error {
	if err := nameEnums(api); err != nil {
		return err
	}
	for path, item := range api.Paths {
		for method, op := range operationsOf(item) {
			if err := nameForm(api, op); err != nil {
				return fmt.Errorf("%s %s: %w", method, path, err)
			}
			for _, param := range op.Parameters {
				param.Schema.Nullable = false // a list in a query is absent, never null
			}
			shareExample(op)
			nameFrames(api, op)
		}
	}
	return nil
}

func operationsOf(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodPatch: item.Patch,
		http.MethodDelete: item.Delete,
	}
	maps.DeleteFunc(all, func(_ string, op *huma.Operation) bool { return op == nil })
	return all
}

// schemaName names the schemas of Go's types. The frames of a WebSocket are called …Event, so what is in them is not; and
// MessageStatus would be taken for the type of Message.status.
func schemaName(t reflect.Type, hint string) string {
	if t == reflect.TypeFor[tenant.MessageStatus]() {
		return "MessageStatusChange"
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if data := strings.TrimSuffix(name, "Event"); data != "" {
		return data
	}
	return name
}

// enumNames are those that are not Owner + Property. MessageStatus is what generators call the constant of message.status.
func enumNames() map[string]string {
	return map[string]string{
		"ChangeGroupSettingsMemberAdd": "MemberAdd", "GroupUpdatedChanged": "GroupChange", "MessageStatus": "DeliveryStatus", "SessionInfoState": "SessionState", "ShowTypingState": "TypingState", "StartPairingMethod": "PairingMethod",
	}
}

// nameEnums makes a schema of its own of every closed list of words: ChatType, DeliveryStatus… Equal lists are one schema, in
// parameters too.
func nameEnums(api *huma.OpenAPI) error {
	schemas := api.Components.Schemas.Map()
	named := make(map[string]string) // by the list of words
	for _, owner := range slices.Sorted(maps.Keys(schemas)) {
		for _, property := range slices.Sorted(maps.Keys(schemas[owner].Properties)) {
			enum, list := schemas[owner].Properties[property], (*huma.Schema)(nil)
			if enum.Items != nil {
				enum, list = enum.Items, enum
			}
			if len(enum.Enum) < 2 { // a constant is clearer where it stands
				continue
			}
			name, err := nameEnum(schemas, named, owner+pascal(property), enum)
			if err != nil {
				return err
			}
			ref := &huma.Schema{Ref: schemaPrefix + name, Description: enum.Description}
			if list != nil {
				list.Items = ref
			} else {
				schemas[owner].Properties[property] = ref
			}
		}
	}
	shareEnums(api, named)
	return nil
}

// nameEnum finds the name of a list of words, or gives it one.
func nameEnum(schemas map[string]*huma.Schema, named map[string]string, name string, enum *huma.Schema) (string, error) {
	words := fmt.Sprint(enum.Enum...)
	if known, found := named[words]; found {
		return known, nil
	}
	if nice := enumNames()[name]; nice != "" {
		name = nice
	}
	if schemas[name] != nil {
		return "", fmt.Errorf("the schema %s stands already: name its words otherwise", name)
	}
	named[words], schemas[name] = name, enum
	return name, nil
}

// shareEnums lets parameters refer to lists of words that have a name.
func shareEnums(api *huma.OpenAPI, named map[string]string) {
	for _, item := range api.Paths {
		for _, op := range operationsOf(item) {
			for _, param := range op.Parameters {
				if name, known := named[fmt.Sprint(param.Schema.Enum...)]; known && len(param.Schema.Enum) > 0 {
					param.Schema = &huma.Schema{Ref: schemaPrefix + name} // Huma checks by the one that it was registered with
				}
			}
		}
	}
}

// nameForm makes a schema of its own of the form that an operation takes: SendMessageForm.
func nameForm(api *huma.OpenAPI, op *huma.Operation) error {
	if op.RequestBody == nil {
		return nil
	}
	form := op.RequestBody.Content[formType]
	if form == nil || form.Schema.Ref != "" {
		return nil
	}
	name, schemas := pascal(op.OperationID)+"Form", api.Components.Schemas.Map()
	if schemas[name] != nil {
		return fmt.Errorf("the schema %s stands already", name)
	}
	schemas[name] = form.Schema
	form.Schema = &huma.Schema{Ref: schemaPrefix + name}
	return nil
}

// nameFrames makes a schema of its own of what a stream carries: Frame, a union that type tells apart.
func nameFrames(api *huma.OpenAPI, op *huma.Operation) {
	for _, response := range op.Responses {
		stream := response.Content[jsonType]
		if stream == nil || stream.Schema == nil || len(stream.Schema.OneOf) == 0 {
			continue
		}
		frames, schemas := stream.Schema, api.Components.Schemas
		frames.Description = "What the WebSocket and the stream of events carry."
		frames.Discriminator = &huma.Discriminator{PropertyName: "type", Mapping: make(map[string]string)}
		for _, frame := range frames.OneOf {
			kind, _ := schemas.SchemaFromRef(frame.Ref).Properties["type"].Enum[0].(string)
			frames.Discriminator.Mapping[kind] = frame.Ref
		}
		schemas.Map()["Frame"] = frames
		schemas.Map()["Event"] = journaled(frames, schemas)
		stream.Schema = &huma.Schema{Ref: schemaPrefix + "Frame"}
	}
}

// journaled is the union of those frames that have a number: what the journal's list has, too.
func journaled(frames *huma.Schema, schemas huma.Registry) *huma.Schema {
	events := &huma.Schema{
		Description:   "What the journal keeps: the frames that have a seq.",
		Discriminator: &huma.Discriminator{PropertyName: "type", Mapping: make(map[string]string)},
	}
	for kind, ref := range frames.Discriminator.Mapping {
		if schemas.SchemaFromRef(ref).Properties["seq"] != nil {
			events.Discriminator.Mapping[kind] = ref
		}
	}
	for _, frame := range frames.OneOf {
		if slices.Contains(slices.Collect(maps.Values(events.Discriminator.Mapping)), frame.Ref) {
			events.OneOf = append(events.OneOf, frame)
		}
	}
	return events
}

// shareExample gives the example of an operation's success to its other success of the same shape.
func shareExample(op *huma.Operation) {
	for _, from := range op.Responses {
		for _, to := range op.Responses {
			a, b := from.Content[jsonType], to.Content[jsonType]
			if a != nil && b != nil && a.Example != nil && b.Example == nil && b.Examples == nil && a.Schema.Ref == b.Schema.Ref {
				b.Example = a.Example
			}
		}
	}
}

// pascal is send-message as SendMessage, and status as Status.
func pascal(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
