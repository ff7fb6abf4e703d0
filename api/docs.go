package api

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
)

// docsFiles is the documentation page: Swagger UI as docs/fetch.sh fetches it, compressed, and what we put around it.
//
//go:embed docs/*.gz docs/*.png docs/*.js docs/*.css docs/*.html
var docsFiles embed.FS

// docsPolicy lets the page load what this server has and nothing else. Swagger UI needs no inline script and no inline style
// sheet; its icons are data: pictures. Requests that the page tries out go to this server.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// publishPage serves the document's page.
func (d *document) publishPage(mux *http.ServeMux) error {
	page, err := template.ParseFS(docsFiles, "docs/page.html")
	if err != nil {
		return fmt.Errorf("parse page of %s: %w", d.title, err)
	}
	var body bytes.Buffer
	if err := page.Execute(&body, map[string]string{"Title": d.title, "Document": d.prefix + "/openapi.json"}); err != nil {
		return fmt.Errorf("render page of %s: %w", d.title, err)
	}
	serve := asset(body.Bytes(), "text/html; charset=utf-8")
	mux.HandleFunc("GET "+d.prefix+"/docs", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Referrer-Policy", "no-referrer")
		serve.ServeHTTP(w, r)
	})
	return nil
}

// registerAssets serves what the pages load, and leads those who try the bare address to a page.
func (s *Server) registerAssets() error {
	for _, file := range []struct{ name, contentType string }{
		{"swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"},
		{"swagger-ui.css.gz", "text/css; charset=utf-8"},
		{"init.js", "text/javascript; charset=utf-8"},
		{"page.css", "text/css; charset=utf-8"},
		{"favicon.png", "image/png"},
	} {
		body, err := docsFiles.ReadFile("docs/" + file.name)
		if err != nil {
			return fmt.Errorf("read asset: %w", err)
		}
		serve := asset(body, file.contentType)
		if name, compressed := strings.CutSuffix(file.name, ".gz"); compressed {
			file.name, serve = name, compressedAsset(body, file.contentType)
		}
		s.mux.Handle("GET /docs/assets/"+file.name, serve)
	}
	for from, to := range map[string]string{"/{$}": "/docs", "/admin": "/admin/docs"} {
		s.mux.HandleFunc("GET "+from, func(w http.ResponseWriter, r *http.Request) {
			stateOf(r.Context()).quiet = true
			http.Redirect(w, r, to, http.StatusFound)
		})
	}
	return nil
}

// compressedAsset serves bytes that are embedded compressed; a client that takes no gzip gets them unpacked.
func compressedAsset(packed []byte, contentType string) http.Handler {
	serve := asset(packed, contentType)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			serve.ServeHTTP(w, r)
			return
		}
		stateOf(r.Context()).quiet = true
		unpacked, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			newProblem(codeInternal).write(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = io.Copy(w, unpacked) //nolint:gosec // our own asset, not a bomb
	})
}
