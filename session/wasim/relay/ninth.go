package relay

import "strings"

// number finds the account of a phone number as somebody wrote it. Brazil's mobile numbers got a ninth digit, a 9 behind the area
// code; WhatsApp knows many accounts by the old form, and finds them by both.
func (s *Server) number(digits string) *account {
	if acct := s.account(digits); acct != nil {
		return acct
	}
	const area = 4 // where the country's and the area's code end
	if !strings.HasPrefix(digits, "55") {
		return nil
	}
	switch {
	case len(digits) == 13 && digits[area] == '9':
		return s.account(digits[:area] + digits[area+1:])
	case len(digits) == 12:
		return s.account(digits[:area] + "9" + digits[area:])
	}
	return nil
}
