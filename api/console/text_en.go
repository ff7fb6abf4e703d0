package console

// english are the texts that the others are translated from.
func english() *words {
	return &words{
		Name: "English", Us: "whoever sent you this link",
		PageTitle: "Link WhatsApp", Steps: "Progress", Step: "Step", StepOf: "of", Languages: "Language",
		StepNames: [4]string{"Choose", "Confirm", "Connect", "Done"},
		Privacy:   "The connection runs over WhatsApp's own “Linked devices”. You see it there on your phone, and can end it there at any time.",

		ChooseTitle: "Link your WhatsApp",
		ChooseText:  "Give {us} access to your WhatsApp account: messages are read and sent for you. Link only if you trust them.",
		CodeOption:  "With your phone number", CodeOptionText: "You get a code to type into WhatsApp. The easy way if WhatsApp is on this very phone.",
		CodeFor:  "The code is for the number that ends in",
		QROption: "With a QR code", QROptionText: "Scan it with WhatsApp on your phone. The easy way if this page is on another screen.",
		PhoneLabel: "Your WhatsApp number", PhoneHint: "With the country code, for example +44 7700 900123",
		PhoneBad:     "This is not a whole phone number. Begin with your country code, for example +44.",
		PhoneRefused: "WhatsApp does not know this number. Check it, and begin with your country code, for example +44.",
		GetCode:      "Get a code", ShowQR: "Show the QR code",

		StartingTitle: "Connecting to WhatsApp …", StartingText: "This takes a few seconds.",
		QRTitle: "Scan this code with WhatsApp", QRLabel: "QR code to scan with WhatsApp",
		QRRenewed: "The code renews itself.", OtherWay: "Use your phone number instead",
		QRSteps: [3]string{
			"Open WhatsApp on your phone.",
			"Open the menu ⋮ on Android, or Settings on iPhone, and tap Linked devices.",
			"Tap Link a device, and point your phone at this code.",
		},
		CodeTitle: "Type this code into WhatsApp", CodeLabel: "Pairing code", CodeNumber: "For the number that ends in",
		Copy: "Copy the code", Copied: "Copied", QRInstead: "Use a QR code instead",
		CodeSteps: [3]string{
			"WhatsApp sends a notification to your phone. Tap it and type the code.",
			"No notification? Open Linked devices in WhatsApp: in the menu ⋮ on Android, in Settings on iPhone.",
			"Tap Link a device, then Link with phone number instead, and type the code.",
		},
		Cancel: "Cancel", TryAgain: "Try again", AnotherWay: "Choose another way",

		FinishingTitle: "Your phone has confirmed", FinishingText: "Connecting your account. Keep WhatsApp open on your phone for a moment.",
		FinishingSlow: "WhatsApp cannot be reached at the moment. We keep trying; you may leave this page open.",
		LinkedTitle:   "Your WhatsApp is linked",
		LinkedText:    "You can close this page. Your chats are being taken over: keep your phone connected to the internet for a few minutes.",
		Return:        "Continue", AlreadyTitle: "WhatsApp is linked already",
		AlreadyText: "There is nothing left to do here. To link another account, ask {us} to disconnect this one first.",
		NoScript:    "JavaScript is off in your browser. The page works all the same, and loads anew every few seconds.",
		Offline:     "No connection. Check your internet; the page goes on by itself.",

		ExpiredTitle: "This link has expired", ExpiredText: "Links work for a short time only. Ask {us} for a new one.",
		UsedTitle: "This link has been used", UsedText: "An account was linked with it, and each link works once. To link again, ask {us} for a new one.",
		RevokedTitle: "This link was withdrawn", RevokedText: "Ask {us} for a new one.",
		UnknownTitle: "This link does not work", UnknownText: "Part of it may be missing: copy it again as a whole, or ask {us} for a new one.",
		BusyTitle: "One moment, please", BusyText: "There were many requests from your network. Wait a minute, then load this page again.",
		UnavailableTitle: "Please try again in a moment", UnavailableText: "The service cannot answer just now. Load this page again in a minute.",
		TooOften: "That was tried often. Wait a minute, then try again.",

		Failures: map[string]failure{
			"":                         {"That did not work", "The account was not linked. Please try again; if it fails again, tell {us}."},
			"pairing_timeout":          {"Time ran out", "Nothing was confirmed on the phone in time. Try again, with your phone at hand."},
			"pairing_connect_failed":   {"WhatsApp could not be reached", "The connection to WhatsApp broke off. Try again in a moment."},
			"pairing_refused":          {"WhatsApp did not accept it", "The phone and WhatsApp did not agree on the link. Try again."},
			"pairing_rate_limited":     {"Too many codes were asked for", "WhatsApp gives this number no more codes for now. Wait about an hour, or use the QR code."},
			"passkey_required":         {"WhatsApp asks for your passkey", passkeyEnglish},
			"node_stopping":            {"The service is restarting", "Wait half a minute, then try again."},
			"multidevice_disabled":     {"Linked devices are off on your phone", "Update WhatsApp on your phone, and scan the code again."},
			"temporary_ban":            {"WhatsApp has blocked the account for a time", "Open WhatsApp on your phone: it says why, and for how long."},
			"client_outdated":          {"The service needs an update", "WhatsApp wants a newer version of it. Please tell {us}."},
			"unlinked_by_phone":        {"The link was removed on your phone", "If you did not mean to, try again."},
			"primary_device_gone":      {"WhatsApp has moved or is locked", "Open WhatsApp on your phone, then try again."},
			"logged_out_by_whatsapp":   {"WhatsApp ended the link", "Open WhatsApp on your phone to see why, then try again."},
			"logged_out_by_operator":   {"The link was ended", "It was ended by {us}. Ask them whether to try again."},
			"logged_out_locally":       {"The link was ended", "It was ended by {us}. Ask them whether to try again."},
			"device_missing":           {"That did not work", "The link was not stored. Please try again."},
			"stream_replaced":          {"The link is in use elsewhere", "Another program took it over. Please tell {us}."},
			"disconnected_by_operator": {"The link was ended", "It was ended by {us}. Ask them whether to try again."},
		},
	}
}

const passkeyEnglish = "For some accounts WhatsApp wants a passkey before it links a device, and a passkey answers only WhatsApp's own website and " +
	"apps, never a page like this one. Try the other way once. If WhatsApp asks again, this account cannot be linked here for now: " +
	"removing the passkey (Settings › Account › Passkeys on the phone) helps some accounts, others are asked for a new one. Please tell {us}."
