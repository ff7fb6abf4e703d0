package relay

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	mediaAuth = "simulated"
	mediaTTL  = "3600"
	maxUpload = 128 << 20 // encrypted, thus a little more than what the apps allow

	mediaTimeout = 2 * time.Minute // for one upload or download
	mediaPrefix  = "/v/"
)

func (c *conn) onMediaConn(*node) ([]node, *iqError) {
	return []node{el("media_conn", attrs{"auth": mediaAuth, "ttl": mediaTTL, "auth_ttl": mediaTTL, "max_buckets": "12"},
		node{Tag: "host", Attrs: attrs{"hostname": c.s.cfg.MediaHost}})}, nil
}

func (s *Server) mediaRoutes(mux *http.ServeMux) {
	for _, prefix := range []string{"/mms", "/newsletter"} {
		mux.HandleFunc("POST "+prefix+"/{kind}/{token}", s.upload)
		mux.HandleFunc("DELETE "+prefix+"/{kind}/{token}", s.discard)
	}
	mux.HandleFunc("GET "+mediaPrefix+"{kind}/{token}", s.download)
}

// token is a blob's key as clients write it, some with padding and some without.
func token(r *http.Request) string { return strings.TrimRight(r.PathValue("token"), "=") }

// upload stores a file while it comes in, and answers where it is.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("auth") != mediaAuth {
		http.Error(w, "auth missing", http.StatusUnauthorized)
		return
	}
	ref, status := s.receive(w, r)
	if status != http.StatusOK {
		http.Error(w, "upload refused", status)
		return
	}
	path := ref.path(r.PathValue("kind"))
	w.Header().Set("Content-Type", "application/json")
	err := json.NewEncoder(w).Encode(map[string]string{
		"url": "https://" + s.cfg.MediaHost + path, "direct_path": path, "handle": token(r), "object_id": token(r),
	})
	if err != nil {
		s.log.DebugContext(r.Context(), "upload not answered", "error", err)
	}
}

func (s *Server) receive(w http.ResponseWriter, r *http.Request) (ref blobRef, status int) {
	into := &spill{b: s.blobs, done: r.Context().Done()}
	defer into.end()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, into), http.MaxBytesReader(w, r.Body, maxUpload)); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return ref, http.StatusRequestEntityTooLarge
		}
		s.log.WarnContext(r.Context(), "upload not read", "error", err)
		return ref, http.StatusBadRequest
	}
	key := blobKey(sum.Sum(nil))
	if token(r) != key {
		return ref, http.StatusBadRequest // the token must be the hash of the body
	}
	into.kept = true
	return s.blobs.store(&blob{key: key, size: into.size, data: into.buf, file: into.name}), http.StatusOK
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	if status, fails := s.faults.media(); fails {
		http.Error(w, "file not available", status)
		return
	}
	place, _ := strconv.Atoi(r.URL.Query().Get("oe"))
	data, size, status := s.blobs.open(token(r), place)
	if status != http.StatusOK {
		http.Error(w, "no such file", status)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, err := io.Copy(w, data)
	if err = errors.Join(err, data.Close()); err != nil {
		s.log.DebugContext(r.Context(), "download broken off", "error", err)
	}
}

func (s *Server) discard(w http.ResponseWriter, r *http.Request) {
	if !s.blobs.remove(token(r), http.StatusNotFound) {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusOK)
}
