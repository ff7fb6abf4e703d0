package phone

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"go.mau.fi/util/random"
	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"google.golang.org/protobuf/proto"
)

// maxDropped bounds the files, encrypted, that a phone keeps after the server has dropped them.
const maxDropped = 16

// droppedFiles are files that the server does not have any more and the phone does, as they were uploaded, by message.
type droppedFiles struct {
	mu    sync.Mutex
	bytes map[string][]byte
	order []string
}

func (d *droppedFiles) keep(id string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bytes == nil {
		d.bytes = make(map[string][]byte)
	}
	if _, ok := d.bytes[id]; !ok {
		if len(d.order) >= maxDropped {
			delete(d.bytes, d.order[0])
			d.order = d.order[1:]
		}
		d.order = append(d.order, id)
	}
	d.bytes[id] = data
}

func (d *droppedFiles) get(id string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes[id]
}

// DropFile makes the server forget the file of a message, as WhatsApp does in time. With keep the phone has it still, and
// uploads it again when a companion asks. Errors: ErrNoFile, and whatsmeow's own.
func (p *Phone) DropFile(ctx context.Context, id string, keep bool) error {
	known, ok := p.sent.get(id)
	if !ok {
		return ErrNoFile
	}
	part, _, _ := fileOf(known.msg)
	if part == nil {
		return ErrNoFile
	}
	ctx, cancel := p.own(ctx)
	defer cancel()
	if keep {
		data, err := p.cli.DownloadMediaWithOnlyPath(ctx, part.GetDirectPath())
		if err != nil {
			return fmt.Errorf("keep the file: %w", err)
		}
		p.dropped.keep(id, data)
	}
	err := p.cli.DeleteMedia(ctx, whatsmeow.GetMediaType(part), part.GetDirectPath(), part.GetFileEncSHA256(), "")
	if err != nil {
		return fmt.Errorf("drop the file: %w", err)
	}
	return nil
}

// bringFilesBack answers companions that miss a file.
func (p *Phone) bringFilesBack() {
	for {
		select {
		case asked := <-p.lostFiles:
			ctx, cancel := context.WithTimeout(p.ctx, answerTime)
			if err := p.bringBack(ctx, asked); err != nil && p.ctx.Err() == nil {
				p.cfg.Log.Warn("file not brought back", "error", redactText(err.Error()))
			}
			cancel()
		case <-p.ctx.Done():
			return
		}
	}
}

// bringBack uploads a file again and says where it is, or that the phone does not have it.
func (p *Phone) bringBack(ctx context.Context, asked *waBinary.Node) error {
	ag := asked.AttrGetter()
	id, from := ag.OptionalString("id"), ag.OptionalJIDOrEmpty("from")
	rmr, _ := asked.GetOptionalChildByTag("rmr")
	content := []waBinary.Node{{Tag: "rmr", Attrs: rmr.Attrs}}
	answer, err := p.broughtBack(ctx, id)
	if err != nil {
		p.cfg.Log.DebugContext(ctx, "file is not there", "error", redactText(err.Error()))
		content = append(content, waBinary.Node{Tag: "error", Attrs: waBinary.Attrs{"code": "2"}})
	} else {
		content = append(content, *answer)
	}
	return p.persist(ctx, func(ctx context.Context) error {
		return p.inner().SendNode(ctx, waBinary.Node{
			Tag: "notification", Attrs: waBinary.Attrs{"id": id, "type": "mediaretry", "to": from}, Content: content,
		})
	})
}

func (p *Phone) broughtBack(ctx context.Context, id string) (*waBinary.Node, error) {
	known, ok := p.sent.get(id)
	data := p.dropped.get(id)
	if !ok || data == nil {
		return nil, ErrNoFile
	}
	part, _, _ := fileOf(known.msg)
	var up whatsmeow.UploadResponse
	err := p.persist(ctx, func(ctx context.Context) error {
		return p.inner().RawUpload(ctx, bytes.NewReader(data), uint64(len(data)), part.GetFileEncSHA256(), whatsmeow.GetMediaType(part), false, &up)
	})
	if err != nil {
		return nil, fmt.Errorf("upload again: %w", err)
	}
	plain, err := proto.Marshal(&waMmsRetry.MediaRetryNotification{
		StanzaID: &id, DirectPath: &up.DirectPath, Result: waMmsRetry.MediaRetryNotification_SUCCESS.Enum(),
	})
	if err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	iv := random.Bytes(12)
	key := hkdfutil.SHA256(part.GetMediaKey(), nil, []byte("WhatsApp Media Retry Notification"), 32)
	sealed, err := gcmutil.Encrypt(key, iv, plain, []byte(id))
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return &waBinary.Node{Tag: "encrypt", Content: []waBinary.Node{
		{Tag: "enc_p", Content: sealed}, {Tag: "enc_iv", Content: iv},
	}}, nil
}
