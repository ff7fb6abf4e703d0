package relay

import (
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	mediaAuth = "simulated"
	mediaTTL  = "3600"
	maxUpload = 100 << 20

	mediaTimeout = 2 * time.Minute // for one upload or download
	mediaPrefix  = "/v/"
)

// blobs are the encrypted files of everybody by the hash of their bytes. All together are bounded: the oldest give way.
type blobs struct {
	limit int64

	mu    sync.Mutex
	byKey map[string]*list.Element
	order *list.List // of *blob, the oldest first
	size  int64
}

type blob struct {
	key  string
	data []byte
}

func newBlobs(limit int64) *blobs {
	return &blobs{limit: limit, byKey: make(map[string]*list.Element), order: list.New()}
}

// put stores bytes and returns their key.
func (b *blobs) put(data []byte) string {
	sum := sha256.Sum256(data)
	key := base64.RawURLEncoding.EncodeToString(sum[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.byKey[key]; ok {
		b.order.MoveToBack(e)
		return key
	}
	b.byKey[key] = b.order.PushBack(&blob{key, data})
	b.size += int64(len(data))
	for b.size > b.limit && b.order.Len() > 1 {
		b.drop(b.order.Front())
	}
	return key
}

// drop is for who holds the lock.
func (b *blobs) drop(e *list.Element) {
	if old, ok := b.order.Remove(e).(*blob); ok {
		delete(b.byKey, old.key)
		b.size -= int64(len(old.data))
	}
}

func (b *blobs) get(key string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byKey[key]
	if !ok {
		return nil, false
	}
	found, ok := e.Value.(*blob)
	if !ok {
		return nil, false
	}
	return found.data, true
}

func (b *blobs) remove(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byKey[key]
	if ok {
		b.drop(e)
	}
	return ok
}

func (b *blobs) stat() (count int, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byKey), b.size
}

func (c *conn) onMediaConn(*node) ([]node, *iqError) {
	return []node{el("media_conn", attrs{"auth": mediaAuth, "ttl": mediaTTL, "auth_ttl": mediaTTL, "max_buckets": "12"},
		node{Tag: "host", Attrs: attrs{"hostname": c.s.cfg.MediaHost}})}, nil
}

// directPath is where a blob is found. It must have a query: clients append to it.
func directPath(kind, key string) string { return mediaPrefix + kind + "/" + key + "?ccb=1&oe=1" }

func (s *Server) mediaRoutes(mux *http.ServeMux) {
	for _, prefix := range []string{"/mms", "/newsletter"} {
		mux.HandleFunc("POST "+prefix+"/{kind}/{token}", s.upload)
		mux.HandleFunc("DELETE "+prefix+"/{kind}/{token}", s.discard)
	}
	mux.HandleFunc("GET "+mediaPrefix+"{kind}/{token}", s.download)
}

// token is a blob's key as clients write it, some with padding and some without.
func token(r *http.Request) string { return strings.TrimRight(r.PathValue("token"), "=") }

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("auth") != mediaAuth {
		http.Error(w, "auth missing", http.StatusUnauthorized)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		status := http.StatusBadRequest
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, "body not read", status)
		return
	}
	sum := sha256.Sum256(data)
	if token(r) != base64.RawURLEncoding.EncodeToString(sum[:]) {
		http.Error(w, "token is not the hash of the body", http.StatusBadRequest)
		return
	}
	path := directPath(r.PathValue("kind"), s.blobs.put(data))
	w.Header().Set("Content-Type", "application/json")
	err = json.NewEncoder(w).Encode(map[string]string{
		"url": "https://" + s.cfg.MediaHost + path, "direct_path": path, "handle": token(r), "object_id": token(r),
	})
	if err != nil {
		s.log.DebugContext(r.Context(), "upload not answered", "error", err)
	}
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	data, ok := s.blobs.get(token(r))
	if !ok {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := w.Write(data); err != nil {
		s.log.DebugContext(r.Context(), "download broken off", "error", err)
	}
}

func (s *Server) discard(w http.ResponseWriter, r *http.Request) {
	if !s.blobs.remove(token(r)) {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusOK)
}
