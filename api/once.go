package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// OnceSessions is what the API needs of the fleet for idempotency keys.
type OnceSessions interface {
	// Once sends once, however often it is called with the same key. Returns session.ErrKeyReused, what send does, and for a message
	// that an earlier call has stored tenant.ErrChatNotFound, tenant.ErrMessageNotFound, *session.OfflineError,
	// *session.UnansweredError, *session.RejectedError.
	Once(
		ctx context.Context, id tenant.ID, key session.RequestKey, send func(context.Context) (tenant.Message, error),
	) (tenant.Message, error)
}

const (
	headerOnce      = "Idempotency-Key"
	maxOnceKey      = 255
	onceKeyPattern  = "^[!-~]{1,255}$"
	onceDescription = "Makes it safe to try again: requests of the same key are one request, and send once. Whoever repeats it gets the message " +
		"as it is now; one that is still pending is sent on, under its id. Another request under the same key is refused (422 " +
		"`IDEMPOTENCY_KEY_REUSED`). Keys are your own choice, best a random UUID for each message; they count for 24 hours. What was " +
		"refused before a message was stored leaves no key behind; a message that was deleted here since is 404, and not sent again."
)

var onceKeyForm = regexp.MustCompile(onceKeyPattern)

// onceRequest is what is known of a request with an idempotency key before its body is.
type onceRequest struct{ key, method, path, query string }

// readKey notes the request's idempotency key, if it has one.
func readKey(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	switch keys := r.Header.Values(headerOnce); {
	case len(keys) == 0:
	case len(keys) > 1 || !onceKeyForm.MatchString(keys[0]):
		answer(ctx, invalid("header."+headerOnce, "expected one key of 1 to 255 visible ASCII characters"))
		return
	default:
		stateOf(ctx.Context()).once = &onceRequest{
			key: keys[0], method: r.Method, path: r.URL.Path, query: r.URL.Query().Encode(), // decoded and sorted: spellings do not count
		}
	}
	next(ctx)
}

// sendOnce sends, once if the request has an idempotency key. body is what the request says, in a form of its own: white space and the
// order of its members do not count.
func sendOnce(
	ctx context.Context, sessions OnceSessions, id tenant.ID, body any, send func(context.Context) (tenant.Message, error),
) (tenant.Message, error) {
	once := stateOf(ctx).once
	if once == nil {
		return send(ctx)
	}
	raw, err := json.Marshal([]any{once.method, once.path, once.query, body})
	if err != nil {
		return tenant.Message{}, fmt.Errorf("encode the request: %w", err)
	}
	return sessions.Once(ctx, id, session.RequestKey{Key: once.key, Request: sha256.Sum256(raw)}, send)
}

// describeKey adds the header to the operation's documentation.
func describeKey(op *huma.Operation) {
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: headerOnce, In: "header", Description: onceDescription, Example: "8e03978e-40d5-43dd-bc93-6894a57f9324",
		Schema: &huma.Schema{
			Type: huma.TypeString, MinLength: new(1), MaxLength: new(maxOnceKey), Pattern: "^[!-~]+$",
		},
	})
}

// onceCodes are what an operation with an idempotency key can answer besides: its message may have been deleted here since.
func onceCodes() []Code { return []Code{codeKeyReused, codeChatNotFound, codeMessageNotFound} }
