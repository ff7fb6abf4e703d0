package console

import (
	"strings"

	"golang.org/x/text/language"
)

// words are the page's texts in one language. {us} stands for the operator's name, or for whoever sent the link.
type words struct {
	Name string // of the language, in the language
	Us   string // the operator without a name

	PageTitle, Steps, Step, StepOf, Languages string
	StepNames                                 [4]string
	Privacy                                   string

	ChooseTitle, ChooseText                                          string
	CodeOption, CodeOptionText, CodeFor                              string // CodeFor: with the end of a number that is given
	QROption, QROptionText                                           string
	PhoneLabel, PhoneHint, PhoneBad, PhoneRefused, GetCode, ShowQR   string
	StartingTitle, StartingText                                      string
	QRTitle, QRLabel, QRRenewed, OtherWay                            string
	QRSteps                                                          [3]string
	CodeTitle, CodeLabel, CodeNumber, Copy, Copied, QRInstead        string
	CodeSteps                                                        [3]string
	Cancel, TryAgain, AnotherWay                                     string
	FinishingTitle, FinishingText, FinishingSlow                     string
	LinkedTitle, LinkedText, Return, AlreadyTitle, AlreadyText       string
	NoScript, Offline                                                string
	ExpiredTitle, UsedTitle, RevokedTitle, UnknownTitle              string
	ExpiredText, UsedText, RevokedText, UnknownText                  string
	BusyTitle, BusyText, UnavailableTitle, UnavailableText, TooOften string

	// Failures are why a pairing failed, by the reasons of package session. The one without a reason is for all others.
	Failures map[string]failure
}

// failure is what a customer is told of a pairing that failed.
type failure struct{ Title, Text string }

// failure is the failure for a reason.
func (w *words) failure(reason string) failure {
	if f, ok := w.Failures[reason]; ok {
		return f
	}
	return w.Failures[""]
}

// languages are the page's languages, the one for everybody else first.
func languages() []language.Tag {
	return []language.Tag{language.English, language.Portuguese, language.Spanish}
}

// dictionary holds the texts of each language, in the order of languages.
type dictionary struct {
	matcher language.Matcher
	codes   []string
	texts   []*words
}

func newDictionary() *dictionary {
	d := &dictionary{matcher: language.NewMatcher(languages()), texts: []*words{english(), portuguese(), spanish()}}
	for _, tag := range languages() {
		d.codes = append(d.codes, tag.String())
	}
	return d
}

// choose picks the language: the one that was asked for by name, else the one that the browser likes best.
func (d *dictionary) choose(name, accept string) (code string, texts *words) {
	if len(accept) > maxAcceptLanguage {
		accept = ""
	}
	_, at := language.MatchStrings(d.matcher, accept)
	for i, known := range d.codes {
		if known == name {
			at = i
		}
	}
	return d.codes[at], d.texts[at]
}

// maxAcceptLanguage bounds the header that is looked at, in bytes.
const maxAcceptLanguage = 500

// of puts the operator's name into a text.
func (w *words) of(brand, text string) string {
	if brand == "" {
		brand = w.Us
	}
	return strings.ReplaceAll(text, "{us}", brand)
}
