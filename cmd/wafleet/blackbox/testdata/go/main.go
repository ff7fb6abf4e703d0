// Command customer is what a customer's program looks like: package wafleet is generated from a node's /openapi.json, and nothing
// of it is written by hand.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"

	"example.org/customer/wafleet"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("WAFLEET_URL"), os.Getenv("WAFLEET_API_KEY"), os.Getenv("CHAT")); err != nil {
		log.Fatal(err)
	}
	fmt.Println("done")
}

type customer struct {
	api  *wafleet.ClientWithResponses
	chat string
}

func run(ctx context.Context, url, key, chat string) error {
	api, err := wafleet.NewClientWithResponses(url, wafleet.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-API-Key", key)
		return nil
	}))
	if err != nil {
		return err
	}
	c := &customer{api: api, chat: chat}
	socket, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1)+"/ws?apiKey="+key, nil)
	if err != nil {
		return err
	}
	defer socket.CloseNow()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"status", c.status},
		{"chats", c.chats},
		{"text", func(ctx context.Context) error { return c.text(ctx, socket) }},
		{"problems", c.problems},
		{"file", c.file},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (c *customer) status(ctx context.Context) error {
	got, err := c.api.GetStatusWithResponse(ctx)
	if err != nil {
		return err
	}
	if got.JSON200 == nil || !got.JSON200.Ready {
		return fmt.Errorf("not ready: %s", got.Body)
	}
	return nil
}

func (c *customer) chats(ctx context.Context) error {
	kind := wafleet.ChatType("direct") // constants are called otherwise when another list has the same word
	got, err := c.api.ListChatsWithResponse(ctx, &wafleet.ListChatsParams{Type: &kind})
	if err != nil {
		return err
	}
	if got.JSON200 == nil {
		return fmt.Errorf("no chats: %s", got.Body)
	}
	for _, chat := range got.JSON200.Chats {
		if chat.Id == c.chat && chat.Type == kind && chat.LastMessage != nil {
			return nil
		}
	}
	return errors.New("the chat is not in the list")
}

// text sends a text, once although it asks twice, sees it on the WebSocket, edits it and deletes it.
func (c *customer) text(ctx context.Context, socket *websocket.Conn) error {
	once := &wafleet.SendMessageParams{IdempotencyKey: new(rand.Text())}
	sent, err := c.api.SendMessageWithResponse(ctx, c.chat, once, wafleet.SendMessage{Message: new("Hello from Go")})
	if err != nil {
		return err
	}
	if sent.JSON201 == nil || sent.JSON201.Status != "sent" || *sent.JSON201.Text != "Hello from Go" {
		return fmt.Errorf("not sent: %s", sent.Body)
	}
	id := sent.JSON201.Id
	again, err := c.api.SendMessageWithResponse(ctx, c.chat, once, wafleet.SendMessage{Message: new("Hello from Go")})
	if err != nil {
		return err
	}
	if again.JSON201 == nil || again.JSON201.Id != id {
		return fmt.Errorf("sent twice: %s", again.Body)
	}
	if err := sees(ctx, socket, func(frame any) bool {
		e, ok := frame.(wafleet.MessageSentEvent)
		return ok && e.Data.Id == id && e.Seq > 0
	}); err != nil {
		return err
	}
	edited, err := c.api.EditMessageWithResponse(ctx, c.chat, id, nil, wafleet.EditMessage{Message: "Hello again"})
	if err != nil {
		return err
	}
	if edited.JSON200 == nil || *edited.JSON200.Text != "Hello again" || edited.JSON200.EditedAt == nil {
		return fmt.Errorf("not edited: %s", edited.Body)
	}
	deleted, err := c.api.DeleteMessageWithResponse(ctx, c.chat, id, nil)
	if err != nil {
		return err
	}
	if deleted.StatusCode() != http.StatusNoContent {
		return fmt.Errorf("not deleted: %s", deleted.Body)
	}
	return sees(ctx, socket, func(frame any) bool {
		e, ok := frame.(wafleet.MessageDeletedEvent)
		return ok && e.Data.Id == id && e.Data.DeletedAt != nil
	})
}

// sees reads frames until one fits.
func sees(ctx context.Context, socket *websocket.Conn, fits func(frame any) bool) error {
	for {
		_, raw, err := socket.Read(ctx)
		if err != nil {
			return err
		}
		var frame wafleet.Frame
		if err := frame.UnmarshalJSON(raw); err != nil {
			return err
		}
		value, err := frame.ValueByDiscriminator()
		if err != nil {
			return fmt.Errorf("%w: %s", err, raw)
		}
		if fits(value) {
			return nil
		}
	}
}

// problems reads what is typed of refusals.
func (c *customer) problems(ctx context.Context) error {
	empty, err := c.api.SendMessageWithResponse(ctx, c.chat, nil, wafleet.SendMessage{Message: new("")})
	if err != nil {
		return err
	}
	p := empty.ApplicationproblemJSON422
	if p == nil || p.Error != "Validation error" || p.Code != "VALIDATION_ERROR" || p.Errors == nil || *(*p.Errors)[0].Location != "body.message" {
		return fmt.Errorf("an empty text: %s", empty.Body)
	}
	nobody, err := c.api.GetChatWithResponse(ctx, "5511000000001@c.us")
	if err != nil {
		return err
	}
	if p := nobody.ApplicationproblemJSON404; p == nil || p.Error != "Chat not found" {
		return fmt.Errorf("no chat: %s", nobody.Body)
	}
	stranger, err := c.api.ListChatsWithResponse(ctx, nil, func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-API-Key", "nobody's")
		return nil
	})
	if err != nil {
		return err
	}
	if p := stranger.ApplicationproblemJSON403; p == nil || p.Error != "Invalid API key" {
		return fmt.Errorf("no key: %s", stranger.Body)
	}
	return nil
}

// file sends a file and fetches it.
func (c *customer) file(ctx context.Context) error {
	content := bytes.Repeat([]byte("a bill "), 1000)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if err := w.WriteField("caption", "the bill"); err != nil {
		return err
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="bill.pdf"`}, "Content-Type": {"application/pdf"},
	})
	if err != nil {
		return err
	}
	if _, err := part.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	sent, err := c.api.SendMessageWithBodyWithResponse(ctx, c.chat, nil, w.FormDataContentType(), &form)
	if err != nil {
		return err
	}
	m := sent.JSON201
	if m == nil || m.Type != "document" || m.Media == nil || m.Media.Size != int64(len(content)) || *m.Media.FileName != "bill.pdf" {
		return fmt.Errorf("not sent: %s", sent.Body)
	}
	got, err := c.api.GetMessageMediaWithResponse(ctx, c.chat, m.Id, nil)
	if err != nil {
		return err
	}
	if got.StatusCode() != http.StatusOK || !bytes.Equal(got.Body, content) {
		return fmt.Errorf("not the file that was sent: %d", got.StatusCode())
	}
	return nil
}
