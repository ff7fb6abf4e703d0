package relay

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// passkeyTime is how long WhatsApp waits for the answer.
const passkeyTime = 10 * time.Minute

// askPasskey sends the companion of a ref what WhatsApp sends for accounts that are protected by a passkey: the options of a WebAuthn
// request whose relying party is WhatsApp. There is nobody here who could check an answer.
func (c *conn) askPasskey(ref string) {
	c.s.mu.RLock()
	p := c.s.refs[ref]
	c.s.mu.RUnlock()
	if p == nil {
		return
	}
	options, err := json.Marshal(map[string]any{
		"challenge": base64.RawURLEncoding.EncodeToString([]byte(rand.Text())),
		"timeout":   passkeyTime.Milliseconds(),
		"rpId":      "whatsapp.com",
		"allowCredentials": []map[string]any{{
			"id": base64.RawURLEncoding.EncodeToString([]byte(rand.Text())), "type": "public-key", "transports": []string{"internal", "hybrid"},
		}},
		"userVerification": "required",
		"extensions":       map[string]any{},
	})
	if err != nil {
		c.s.log.Error("passkey options", "error", err)
		return
	}
	p.c.send(c.s.notification("passkey_prologue_request", types.ServerJID, leaf("passkey_request_options", options)))
}
