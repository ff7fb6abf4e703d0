package relay

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// Reachout tells an account's devices of a reach-out time lock: until then the account may write only to those who have written to it. A
// time that is over says that it is lifted. What is refused meanwhile [FaultFirstContact] says. Errors: ErrUnknownAccount.
func (s *Server) Reachout(phone string, until time.Time) error {
	acct := s.account(phone)
	if acct == nil {
		return fmt.Errorf("%w: %s", ErrUnknownAccount, redact(phone))
	}
	notice := map[string]any{"is_active": until.After(time.Now())}
	if until.After(time.Now()) {
		notice["enforcement_type"], notice["time_enforcement_ends"] = "BIZ_COMMERCE_VIOLATION_ALCOHOL", strconv.FormatInt(until.Unix(), 10)
	}
	raw, err := json.Marshal(map[string]any{"data": map[string]any{"xwa2_notify_account_reachout_timelock": notice}})
	if err != nil {
		return fmt.Errorf("encode notice: %w", err)
	}
	update := node{Tag: "update", Attrs: attrs{"op_name": "NotificationUserReachoutTimelockUpdate"}, Content: raw}
	for _, d := range acct.all() {
		if d.id != 0 {
			s.deliver(d, s.notification("mex", types.ServerJID, update), "")
		}
	}
	return nil
}
