package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wafleet/wafleet/session"
	"github.com/wafleet/wafleet/tenant"
)

// PollSessions is what the API needs of the fleet for polls.
type PollSessions interface {
	OnceSessions

	// SendPoll sends a poll and returns the stored message. Errors as of SendText.
	SendPoll(ctx context.Context, id tenant.ID, chat tenant.ChatID, m session.PollMessage) (tenant.Message, error)
	// Vote puts our vote on a poll in the place of the one before, or withdraws it if there are no options, and returns the message
	// as it is now. Returns tenant.ErrChatNotFound, tenant.ErrMessageNotFound, *session.OfflineError, session.ErrDeleted,
	// session.ErrNotPoll, session.ErrUnknownOption, session.ErrSingleChoice, *session.UncertainError, *session.RefusedError, in this
	// order.
	Vote(ctx context.Context, id tenant.ID, ref session.MessageRef, options []string) (tenant.Message, error)
}

// registerPolls registers the operations on polls (client API v2 §7).
func registerPolls(d *document, sessions PollSessions) {
	h := &pollHandler{sessions: sessions}
	poll := examplePoll()
	tenantOperation(d, &operation{
		id: "create-poll", scope: tenant.ScopeSend, method: http.MethodPost, path: "/api/chats/{chatId}/poll", tag: tagMessages,
		deadline: deadlineAction, status: http.StatusCreated, once: true,
		summary: "Create a poll in a group",
		description: "Sends a poll and answers with the stored message once WhatsApp has it. Polls are for groups: a person's chat is refused " +
			"(`NOT_A_GROUP`). Votes arrive as `poll.vote` and are tallied in the message's `poll`. When WhatsApp does not answer in " +
			"time, the message stays stored as `pending`, goes out again under the same id, and the answer is 504 with its `messageId`.",
		problems: []Code{codeNotAGroup, codeChatNotFound, codeForbidden, codeMessageRejected, codeGatewayTimeout},
		request:  CreatePoll{Question: poll.Poll.Question, Options: []string{"Wednesday", "Thursday"}},
		response: poll,
	}, h.create)
	voted := examplePoll()
	voted.Poll.Votes = []tenant.PollVote{{VoterID: voted.SenderID, Options: []int{1}, Timestamp: exampleTime()}}
	voted.Poll.Count()
	tenantOperation(d, &operation{
		id: "vote-in-poll", scope: tenant.ScopeSend, method: http.MethodPost, path: messagePath + "/votes", tag: tagMessages, deadline: deadlineAction,
		summary: "Vote in a poll",
		description: "Puts this account's vote in the place of the one before; without options it is withdrawn. Polls of others and in persons' " +
			"chats may be voted in, too. When WhatsApp does not answer in time (504), it may have taken the vote, and nothing has changed " +
			"here: vote again.",
		problems: append(revisionProblems(), codeMessageDeleted, codeNotAPoll),
		request:  Vote{Options: []string{"Thursday"}},
		response: voted,
	}, h.vote)
}

func examplePoll() tenant.Message {
	m := exampleMessage()
	m.ChatID = "120363000000000001@g.us"
	m.Type, m.Text = tenant.TypePoll, "When do we meet?"
	m.Poll = &tenant.Poll{Question: m.Text, Options: []tenant.PollOption{{Text: "Wednesday"}, {Text: "Thursday"}}}
	m.Poll.Count()
	return m
}

// CreatePoll is the body of a new poll.
type CreatePoll struct {
	Question string   `json:"question" minLength:"1" maxLength:"255" doc:"What is asked." example:"When do we meet?"`
	Options  []string `json:"options" nullable:"false" minItems:"2" maxItems:"12" uniqueItems:"true" doc:"The answers to choose from, distinct, up to 100 characters each." example:"Wednesday,Thursday"`
	Multiple bool     `json:"multiple,omitempty" doc:"Whether more than one may be chosen."`
}

// Resolve checks what a schema cannot say of texts.
func (b *CreatePoll) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var faults []error
	if fault := textFault(b.Question); fault != "" {
		faults = append(faults, &huma.ErrorDetail{Location: at.With("question"), Message: fault})
	}
	for i, option := range b.Options {
		fault := textFault(option)
		switch {
		case option == "":
			fault = "expected a text"
		case len([]rune(option)) > tenant.MaxPollOptionText:
			fault = "expected length <= " + strconv.Itoa(tenant.MaxPollOptionText)
		case slices.ContainsFunc(b.Options[:i], func(earlier string) bool { return strings.TrimSpace(earlier) == strings.TrimSpace(option) }):
			fault = "expected options that differ by more than white space"
		}
		if fault != "" {
			faults = append(faults, &huma.ErrorDetail{Location: at.With("options[" + strconv.Itoa(i) + "]"), Message: fault})
		}
	}
	return faults
}

var _ huma.ResolverWithPath = (*CreatePoll)(nil)

// Vote is the body of a vote.
type Vote struct {
	Options []string `json:"options" nullable:"false" maxItems:"64" doc:"The texts of all that is chosen; empty to withdraw the vote. One at most unless the poll says multiple." example:"Thursday"`
}

type pollHandler struct{ sessions PollSessions }

type createPollInput struct {
	GroupPath

	Body CreatePoll
}

func (h *pollHandler) create(ctx context.Context, t tenant.Handle, in *createPollInput) (*messageOutput, error) {
	chat, err := in.group()
	if err != nil {
		return nil, err
	}
	message, err := sendOnce(ctx, h.sessions, t.ID(), in.Body, func(ctx context.Context) (tenant.Message, error) {
		return h.sessions.SendPoll(ctx, t.ID(), chat, session.PollMessage{
			Question: in.Body.Question, Options: in.Body.Options, Multiple: in.Body.Multiple,
		})
	})
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}

type voteInput struct {
	MessagePath

	Body Vote
}

func (h *pollHandler) vote(ctx context.Context, t tenant.Handle, in *voteInput) (*messageOutput, error) {
	ref, err := in.ref()
	if err != nil {
		return nil, err
	}
	message, err := h.sessions.Vote(ctx, t.ID(), ref, in.Body.Options)
	if err != nil {
		return nil, err
	}
	return &messageOutput{Body: message}, nil
}
